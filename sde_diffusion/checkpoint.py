"""Checkpoints: safetensors with JSON metadata; a file can name registered networks only.

Metadata key ``sde_diffusion`` holds, as JSON:
``{"format": 1, "network": {"name", "args"}, "denoiser": {"name", "args", "sigma_min",
"sigma_max"}, "shape": [C, H, W], "classes": int, "data": str, "step": int, "config": {...}}``.
Tensors ``model.*`` are the (EMA) weights that everybody loads; ``train.*`` are the raw weights
and the optimizer state from which training resumes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sde_diffusion import networks
from sde_diffusion.denoiser import NetworkDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.parameterization import PARAMETERIZATIONS

FORMAT = 1
KEY = "sde_diffusion"


@dataclass(frozen=True)
class Spec:
    """Everything needed to rebuild a denoiser from its weights; plain JSON values only."""

    network: str
    network_args: dict[str, Any]
    parameterization: str
    parameterization_args: dict[str, Any]
    shape: tuple[int, ...]
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    classes: int = 0
    data: str = ""
    step: int = 0
    config: dict[str, Any] = field(default_factory=dict)

    def build(self) -> NetworkDenoiser:
        """A denoiser with fresh weights; InputError for a name outside the registries."""
        if self.parameterization not in PARAMETERIZATIONS:
            raise InputError(
                f"denoiser={self.parameterization}: choose one of {sorted(PARAMETERIZATIONS)}"
            )
        return NetworkDenoiser(
            networks.build(self.network, self.network_args),
            PARAMETERIZATIONS[self.parameterization](**self.parameterization_args),
            tuple(self.shape),
            self.sigma_min,
            self.sigma_max,
        )


def write_atomically(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: a temporary file beside it, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    os.chmod(f.name, 0o644)
    os.replace(f.name, path)


def save_checkpoint(path: Path, spec: Spec, tensors: dict[str, Tensor]) -> None:
    """Write tensors and spec, atomically."""
    metadata = {KEY: json.dumps({"format": FORMAT, **asdict(spec)})}
    content = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_atomically(path, save(content, metadata))


def read_checkpoint(path: Path, prefix: str = "") -> tuple[Spec, dict[str, Tensor]]:
    """The spec and the tensors whose names start with ``prefix``; InputError if not ours."""
    if not path.is_file():
        raise InputError(f"checkpoint={path}: no such file; give a .safetensors file or 'mnist'")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[KEY])
            tensors = {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118  safe_open is no mapping
                if name.startswith(prefix)
            }
        if metadata.pop("format") != FORMAT:
            raise InputError(f"checkpoint={path}: written by another version; want format {FORMAT}")
        return Spec(**{**metadata, "shape": tuple(metadata["shape"])}), tensors
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"checkpoint={path}: not a checkpoint of this package ({type(error).__name__}); "
            "give a file written by 'sde-diffusion train'"
        ) from error


def load_denoiser(path: Path, dtype: torch.dtype = torch.float32) -> tuple[Spec, NetworkDenoiser]:
    """The trained denoiser of a checkpoint, in evaluation mode, weights in ``dtype``."""
    spec, tensors = read_checkpoint(path, prefix="model.")
    denoiser = spec.build()
    try:
        denoiser.network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"checkpoint={path}: weights do not fit network {spec.network}") from error
    denoiser.network.to(dtype)
    return spec, denoiser.eval().requires_grad_(False)


def fingerprint(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
