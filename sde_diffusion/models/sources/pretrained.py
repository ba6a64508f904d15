"""Networks and tokenizers of other libraries from a local folder: safetensors alone, no bars."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.weights import Stored, check_not_quantised, stored
from sde_diffusion.networks.diffusers import INSTALL

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
LAYERS = ("num_hidden_layers", "num_layers")  # of CLIP, of T5
# Files of a tokenizer's words, each of these alone.
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))


def network(
    library: str, class_name: str, folder: Path, dtype: torch.dtype = torch.float32
) -> tuple[Any, list[Path]]:
    """A network of a library's class with the weights of a folder, all of them and no others; and
    the files that it was made of."""
    cls, name = _imported(library, class_name), folder.name
    files = _safe(name, stored(folder, STEMS[library]))
    check_not_quantised(files, name)
    named = re.match(rf"{STEMS[library]}\.([^.]+?)(-\d+-of-\d+)?\.safetensors", files[0].name)
    variant = {} if named is None else {"variant": named[1]}
    kind: dict[str, Any] = {"dtype": dtype}
    if library == "diffusers":
        kind = {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    try:
        with _without_bars(library):
            model, notes = cls.from_pretrained(
                str(folder),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **kind,
                **variant,
            )
    except Exception as error:  # whatever a library finds wrong with a folder
        raise InputError(f"{name}: {class_name} does not open ({_reason(error)})") from None
    missing = [key for key in notes.get("missing_keys", ()) if "position_ids" not in key]
    ways = {"is not there": missing, "is of another shape": notes.get("mismatched_keys", ())}
    if library == "diffusers":  # a text encoder's file may hold the rest of its model
        ways["is of no layer"] = notes.get("unexpected_keys", ())
    for way, keys in ways.items():
        if keys:
            raise InputError(
                f"{name}: weights do not fit {class_name} of config.json: "
                f"{min(map(str, keys))[:80]} {way}; fetch weights and config of one model"
            )
    return model.eval().requires_grad_(False), [folder / "config.json", *files]


def passed_over(model: Any, config: Mapping[str, Any], files: Iterable[Path]) -> dict[str, str]:
    """What a folder says of a network and its library looks past: entry -> why.

    Arguments that a class of diffusers has not, and layers of a text that a config leaves out.
    """
    if hasattr(model, "register_to_config"):
        takes = inspect.signature(type(model).__init__).parameters
        return {
            f"{key}={str(value)[:40]}": f"no argument of {type(model).__name__}"
            for key, value in config.items()
            if key not in takes and not key.startswith("_") and value not in (None, False)
        }
    used = next((config[key] for key in LAYERS if type(config.get(key)) is int), None)
    held = [number for file in files for number in _layers_in(file)]
    if used is None or not held or max(held) < used:
        return {}
    return {f"layers={used}": f"its weights have {max(held) + 1}, and its config takes the first"}


def _layers_in(file: Path) -> list[int]:
    """Numbers of the layers of a text that a file of safetensors has."""
    if file.suffix != ".safetensors":
        return []
    with safe_open(file, framework="pt") as held:
        names = [str(name) for name in held.keys()]  # noqa: SIM118
    matches = (re.match(r"(?:text_model\.)?encoder\.(?:layers|block)\.(\d+)\.", n) for n in names)
    return [int(match[1]) for match in matches if match]


def tokenizer(library: str, class_name: str, folder: Path) -> tuple[Any, list[Path]]:
    """A tokenizer of a library's class with the words of a folder, and its files."""
    _check_vocabulary(folder)
    try:
        opened = _imported(library, class_name).from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever a library finds wrong with a folder
        raise InputError(f"{folder.name}: {class_name} does not open ({_reason(error)})") from None
    return opened, sorted(path for path in folder.glob("*") if path.is_file())


def processor(class_name: str, folder: Path) -> Any:
    """What brings pictures into the form that a network of transformers sees, by PIL."""
    if not (folder / "preprocessor_config.json").is_file():
        raise InputError(f"{folder.name}: has no preprocessor_config.json; fetch it too")
    try:
        cls = _imported("transformers", f"{class_name}Pil")
    except AttributeError:  # the plain name works by PIL there
        cls = _imported("transformers", class_name)
    try:
        return cls.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever a library finds wrong with a folder
        raise InputError(f"{folder.name}: {class_name} does not open ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _imported(library: str, class_name: str) -> Any:
    try:
        return getattr(importlib.import_module(library), class_name)
    except ImportError as error:
        raise InputError(f"checkpoint: {library} is not installed; {INSTALL}") from error


@contextmanager
def _without_bars(library: str) -> Iterator[None]:
    """Within the block the library draws no progress bar."""
    logging = importlib.import_module(f"{library}.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _check_vocabulary(folder: Path) -> None:
    """InputError for a folder without the words, of which transformers would make an empty one."""
    if any(all((folder / name).is_file() for name in files) for files in VOCABULARIES):
        return
    named = ", or ".join(" and ".join(files) for files in VOCABULARIES)
    raise InputError(f"{folder.name}: has no vocabulary ({named}); fetch it too")


def _safe(name: str, files: Stored) -> tuple[Path, ...]:
    for path in files.paths:
        if path.suffix != ".safetensors":
            raise InputError(
                f"{name}: {path.name} is a pickle, which is not run; convert it to safetensors "
                "where you trust it"
            )
    return files.paths
