"""Parts of a pipeline's folder, loaded by their own libraries: known classes, safetensors alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import Finding
from sde_diffusion.models.sources.latents.texts import TextReader
from sde_diffusion.models.sources.pretrained import network, passed_over, tokenizer
from sde_diffusion.models.sources.weights import json_file
from sde_diffusion.system.storage import fingerprint

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


class PipelineParts:
    """The parts that the index of a folder names, opened when they are asked for."""

    def __init__(self, path: Path, index: Mapping[str, Any]) -> None:
        self.path, self.index = path, index
        self.files: list[Path] = [path / "model_index.json"]
        self.passed_over: list[Finding] = []

    def has(self, name: str) -> bool:
        entry = self.index.get(name)
        return isinstance(entry, list) and len(entry) == 2 and entry[0] is not None

    def class_of(self, name: str) -> tuple[str, str]:
        """Library and class of a part; InputError for one that is not there or not known."""
        if not self.has(name):
            raise InputError(f"model_index.json: names no {name}, which this pipeline reads")
        library, cls = (str(word) for word in self.index[name])
        if cls not in CLASSES.get(library, ()):
            classes = ", ".join(each for names in CLASSES.values() for each in names)
            raise InputError(
                f"model_index.json: {name} is {library[:40]}.{cls[:60]}, which is not run; only "
                f"{classes} are"
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
        config = self.config(name)
        model, files = network(library, class_name, self.path / name, dtype)
        self.files += files
        for entry, why in passed_over(model, config, files).items():
            key, value = entry.split("=", 1)
            evidence = f"{name}/config.json: {why}; passed over, as in {library}"
            self.passed_over.append(Finding(f"{name}.{key}", value, evidence, False))
        return model

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
        opened, files = tokenizer(library, class_name, self.path / name)
        self.files += files
        return opened


def digest(path: Path, files: Iterable[Path], *protocol: str) -> str:
    """Of the content of files, by their places in the folder ``path``, and of a protocol."""
    named = [f"{file.relative_to(path)} {fingerprint(file)}" for file in sorted(set(files))]
    named += protocol
    return hashlib.sha256(" ".join(named).encode()).hexdigest()
