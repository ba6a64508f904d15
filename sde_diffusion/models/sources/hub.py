"""``hub:OWNER/NAME``: a repository of the Hugging Face Hub, fetched, then opened as a folder."""

from __future__ import annotations

import re
from pathlib import Path

from sde_diffusion.errors import InputError
from sde_diffusion.networks.diffusers import INSTALL

PREFIX = "hub:"
NAME = re.compile(
    r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(@\w[\w.-]{0,63}(/\w[\w.-]{0,63}){0,4})?"
)
# What is fetched: texts and weights, no code and no picture.
WANTED = [
    "model_index.json", "config.json", "scheduler/*.json", "unet/*.json", "transformer/*.json",
    "*.safetensors", "unet/*.safetensors", "transformer/*.safetensors", "vae/*.json",
    "vae/*.safetensors", "vqvae/*.json", "vqvae/*.safetensors", "codec/*.json",
    "codec/*.safetensors",
    "text_encoder*/*.json", "text_encoder*/*.safetensors", "tokenizer*/*",
]  # fmt: skip


def fetched(checkpoint: str, key: str = "checkpoint") -> Path:
    """The folder of ``hub:OWNER/NAME``, or ``hub:OWNER/NAME@REVISION``.

    It lies in the Hub's own cache; where that has it, nothing is asked of the network again.
    ``key`` is what messages call it.
    """
    name = checkpoint.removeprefix(PREFIX)
    if not NAME.fullmatch(name):
        raise InputError(f"{key}={checkpoint}: give hub:OWNER/NAME, or hub:OWNER/NAME@REVISION")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(
            f"{key}={checkpoint}: huggingface_hub is not installed; {INSTALL}"
        ) from error
    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=WANTED)
    except Exception as error:  # of its own, of its HTTP client, of the disk
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{key}={checkpoint}: could not be fetched ({reason}); check the name and the "
            "connection, or give the path of a folder"
        ) from error
    return Path(folder)
