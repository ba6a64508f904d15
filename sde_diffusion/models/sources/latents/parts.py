"""Parts of a pipeline's folder, loaded by their own libraries: known classes, safetensors alone."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.latents.texts import TextReader
from sde_diffusion.models.sources.weights import Stored, check_not_quantised, json_file, stored
from sde_diffusion.networks.diffusers import INSTALL
from sde_diffusion.system.storage import fingerprint

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
CLASSES = {
    "diffusers": (
        "UNet2DModel",
        "UNet2DConditionModel",
        "SD3Transformer2DModel",
        "FluxTransformer2DModel",
        "PixArtTransformer2DModel",
        "DiTTransformer2DModel",
        "Transformer2DModel",
        "AutoencoderKL",
        "AutoencoderTiny",
    ),
    "transformers": (
        "CLIPTextModel",
        "CLIPTextModelWithProjection",
        "T5EncoderModel",
        "CLIPTokenizer",
        "CLIPTokenizerFast",
        "T5Tokenizer",
        "T5TokenizerFast",
    ),
}


# Files of a tokenizer's words, each of these alone.
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))


class PipelineParts:
    """The parts that the index of a folder names, opened when they are asked for."""

    def __init__(self, path: Path, index: Mapping[str, Any]) -> None:
        self.path, self.index = path, index
        self.files: list[Path] = [path / "model_index.json"]

    def has(self, name: str) -> bool:
        entry = self.index.get(name)
        return isinstance(entry, list) and len(entry) == 2 and entry[0] is not None

    def class_of(self, name: str) -> tuple[str, str]:
        """Library and class of a part; InputError for one that is not there or not known."""
        if not self.has(name):
            raise InputError(f"model_index.json: names no {name}, which this pipeline reads")
        library, cls = (str(word) for word in self.index[name])
        if cls not in CLASSES.get(library, ()):
            known = ", ".join(each for names in CLASSES.values() for each in names)
            raise InputError(
                f"model_index.json: {name} is {library[:40]}.{cls[:60]}, which is not run; only "
                f"{known} are"
            )
        if not (self.path / name).is_dir():
            raise InputError(f"{name}: no such folder beside model_index.json; fetch it too")
        return library, cls

    def config(self, name: str) -> dict[str, Any]:
        """The entries of a part's config.json."""
        self.class_of(name)
        return json_file(self.path / name / "config.json")

    def model(self, name: str, dtype: torch.dtype = torch.float32) -> Any:
        """A network with its weights, all of them and no others."""
        library, class_name = self.class_of(name)
        cls, folder = _imported(library, class_name), self.path / name
        self.config(name)
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
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise InputError(f"{name}: {class_name} does not open ({reason})") from None
        missing = [key for key in notes.get("missing_keys", ()) if "position_ids" not in key]
        strange = sorted(map(str, [*missing, *notes.get("mismatched_keys", ())]))
        if library == "diffusers":  # a text encoder's file may hold the rest of its model
            strange += sorted(map(str, notes.get("unexpected_keys", ())))
        if strange:
            raise InputError(
                f"{name}: weights do not fit {class_name} of config.json: {strange[0][:80]} is "
                "missing, strange or of another shape"
            )
        self.files += [folder / "config.json", *files]
        return model.eval().requires_grad_(False)

    def reader(self, number: str, length: int | None = None) -> TextReader:
        """Text encoder and tokenizer of a number, ``_2`` say; ``length`` tokens, or CLIP's own."""
        tokenizer = self.tokenizer(f"tokenizer{number}")
        model = self.model(f"text_encoder{number}")
        most = getattr(model.config, "max_position_embeddings", None)
        read = length or min(int(tokenizer.model_max_length), int(most or 10**6))
        words = len(tokenizer)
        if words > model.config.vocab_size:
            raise InputError(
                f"tokenizer{number}: has {words} tokens, and text_encoder{number} knows "
                f"{model.config.vocab_size}; give the tokenizer that belongs to it"
            )
        return TextReader(tokenizer, model, read)

    def tokenizer(self, name: str) -> Any:
        library, class_name = self.class_of(name)
        folder = self.path / name
        _check_vocabulary(folder)
        try:
            made = _imported(library, class_name).from_pretrained(
                str(folder), local_files_only=True
            )
        except Exception as error:  # whatever a library finds wrong with a folder
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise InputError(f"{name}: {class_name} does not open ({reason})") from None
        self.files += sorted(path for path in folder.glob("*") if path.is_file())
        return made


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


def digest(path: Path, files: Iterable[Path]) -> str:
    """Of the content of files, by their places in the folder ``path``."""
    named = [f"{file.relative_to(path)} {fingerprint(file)}" for file in sorted(set(files))]
    return hashlib.sha256(" ".join(named).encode()).hexdigest()
