"""Reading weights files that others made: nothing is unpickled, a wrong file is one line."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.system.sealed import check_header

# More than any extractor's weights: a file is not read into memory before its size is known.
MAX_BYTES = 4 * 2**30


def read_weights(path: Path, key: str) -> dict[str, Tensor]:
    """The named tensors of a safetensors file or of a PyTorch file (``weights_only``).

    InputError, which names the config key ``key``, for anything else.
    """
    if not path.is_file():
        raise InputError(f"{key}={path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{key}={path}: {path.stat().st_size} bytes, more than {MAX_BYTES}")
    try:
        if path.suffix == ".safetensors":
            check_header(path)
            return load_file(path)
        # What is no mapping from names has no items: an AttributeError below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that is refused all the same
            state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {str(k): v for k, v in state.items()}
        if not all(torch.is_tensor(v) for v in tensors.values()):
            raise ValueError("something in it is no tensor")
        return tensors
    except Exception as error:  # torch.load's and safetensors' refusals share no narrower class
        # Its first sentence: what follows tells how to load the file unsafely.
        reason = " ".join(str(error).split()).split(". ")[0][:200]
        raise InputError(
            f"{key}={path}: torn, or no file of plain weights ({reason}); "
            "give a safetensors file or a PyTorch state dict"
        ) from error


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, whatever file they came in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
