"""Checkpoints: sealed files whose facts are a ``Spec``; one can name registered networks only.

Tensors ``model.*`` are the (EMA) weights that everybody loads; ``train.*`` are the raw weights and
the optimizer state from which training resumes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.models.spec import Spec
from sde_diffusion.system import strict_json
from sde_diffusion.system.names import of_today
from sde_diffusion.system.processes import rank, whole
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors
from sde_diffusion.system.storage import fingerprint


def _first_checkpoint(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    """The facts of a file of 7a19cb7 and before; the oldest have no checksums."""
    facts: Facts = strict_json.loads(metadata.get("sde_diffusion", "null"), finite=False)
    if type(facts) is not dict or facts.pop("format", None) != 1:
        raise ValueError("metadata is not of format 1")
    for name, checksum in facts.pop("crc32", {}).items():
        if name in tensors and checksum != _crc32(tensors[name]):
            raise ValueError(f"tensor {name} is damaged")
    return _second(facts)


def _second(facts: Facts) -> Facts:
    """Facts of format 1 as those of format 2: one shape, labels without names."""
    return {"class_names": [], "kind": "", "multiple": 1, **facts}


def _crc32(tensor: Tensor) -> int:
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data)


CHECKPOINT = SealedKind(
    "checkpoint",
    2,
    "give 'mnist', 'shapes' or a file written by 'sde-diffusion train'",
    _first_checkpoint,
)


def save_checkpoint(path: Path, spec: Spec, tensors: dict[str, Tensor]) -> None:
    """Write tensors and spec, atomically; of several processes, all call this and one writes."""
    content: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor.detach())
        if rank() == 0:
            content[name] = gathered.cpu()
    if rank() == 0:
        facts = asdict(spec)
        if not spec.conditions:  # readable to versions of before there were any
            del facts["conditions"]
        CHECKPOINT.write(path, content, facts)


def read_checkpoint(path: Path, prefix: str = "") -> tuple[Spec, dict[str, Tensor]]:
    """The spec and the tensors whose names start with ``prefix``; InputError if not ours."""

    def parse(facts: Facts, tensors: Tensors) -> tuple[Spec, dict[str, Tensor]]:
        return Spec.parse(facts), {k.removeprefix(prefix): v for k, v in tensors.items()}

    return CHECKPOINT.read(path, "checkpoint", parse, prefix)


class _WithoutInit(TorchFunctionMode):
    """Leaves out torch.nn.init: on the meta device it does nothing, and imports a compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return keywords.get("tensor")
        return func(*args, **keywords)


def shapes(spec: Spec) -> dict[str, torch.Size]:
    """Shapes of a network's weights, found without memory: a small file cannot ask for much."""
    with torch.device("meta"), _WithoutInit():
        return {k: v.shape for k, v in spec.build().network.state_dict().items()}


def load_denoiser(path: Path, dtype: torch.dtype = torch.float32) -> tuple[Spec, NetworkDenoiser]:
    """The trained denoiser of a checkpoint, in evaluation mode, weights in ``dtype``."""
    spec, tensors = read_checkpoint(path, prefix="model.")
    try:
        if shapes(spec) != {name: value.shape for name, value in tensors.items()}:
            raise InputError(f"weights do not fit network {spec.network}")
        denoiser = spec.build()
    except InputError as error:
        raise InputError(f"checkpoint={path}: {error}") from error
    denoiser.network.load_state_dict(tensors)
    denoiser.network.to(dtype)
    denoiser.source = fingerprint(path)
    spec = replace(spec, config=of_today(spec.config, denoiser.source))
    return spec, denoiser.eval().requires_grad_(False)
