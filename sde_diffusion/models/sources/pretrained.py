"""Networks and tokenizers of other libraries from a local folder: safetensors alone, no bars."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.weights import Stored, check_not_quantised, stored
from sde_diffusion.networks.diffusers import INSTALL

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
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
    strange = sorted(map(str, [*missing, *notes.get("mismatched_keys", ())]))
    if library == "diffusers":  # a text encoder's file may hold the rest of its model
        strange += sorted(map(str, notes.get("unexpected_keys", ())))
    if strange:
        raise InputError(
            f"{name}: weights do not fit {class_name} of config.json: {strange[0][:80]} is "
            "missing, strange or of another shape"
        )
    return model.eval().requires_grad_(False), [folder / "config.json", *files]


def tokenizer(library: str, class_name: str, folder: Path) -> tuple[Any, list[Path]]:
    """A tokenizer of a library's class with the words of a folder, and its files."""
    _check_vocabulary(folder)
    try:
        made = _imported(library, class_name).from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever a library finds wrong with a folder
        raise InputError(f"{folder.name}: {class_name} does not open ({_reason(error)})") from None
    return made, sorted(path for path in folder.glob("*") if path.is_file())


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
