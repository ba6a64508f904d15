"""Checkpoints: sealed files whose facts are a ``Spec``; one can name registered networks only.

Tensors ``model.*`` are the (EMA) weights that everybody loads; ``train.*`` are the raw weights and
the optimizer state from which training resumes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sde_diffusion import networks
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS
from sde_diffusion.errors import InputError
from sde_diffusion.system import strict_json
from sde_diffusion.system.processes import rank, whole
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors
from sde_diffusion.system.storage import fingerprint

# A small file cannot ask for much: values of one image, and counts.
MAX_VALUES = 64 * 2**20
MAX_COUNT = 2**53


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
                f"parameterization={self.parameterization}: choose one of "
                f"{sorted(PARAMETERIZATIONS)}"
            )
        try:
            parameterization = PARAMETERIZATIONS[self.parameterization](
                **self.parameterization_args
            )
        except TypeError as error:
            raise InputError(f"parameterization={self.parameterization}: {error}") from error
        return NetworkDenoiser(
            networks.build(self.network, self.network_args),
            parameterization,
            tuple(self.shape),
            self.sigma_min,
            self.sigma_max,
        )

    @classmethod
    def parse(cls, entries: Facts) -> Spec:
        """The spec in a file's facts; ValueError names the entry that is wrong."""
        wanted = {f.name for f in fields(cls)}
        if set(entries) != wanted:
            raise ValueError(f"metadata entries {sorted(wanted ^ set(entries))} missing or unknown")
        for name, kinds in _KINDS.items():
            if type(entries[name]) not in kinds:
                raise ValueError(f"metadata entry {name!r} is a {type(entries[name]).__name__}")
        shape = entries["shape"]
        if not shape or any(type(side) is not int or side < 1 for side in shape):
            raise ValueError(f"metadata entry 'shape' is {shape}")
        if math.prod(shape) > MAX_VALUES:
            raise ValueError(f"metadata entry 'shape' asks for more than {MAX_VALUES} values")
        if not 0 <= entries["sigma_min"] < entries["sigma_max"] < math.inf:
            raise ValueError("metadata entries 'sigma_min' and 'sigma_max' are no range")
        for name in ("classes", "step"):
            if not 0 <= entries[name] <= MAX_COUNT:
                raise ValueError(f"metadata entry {name!r} is not from 0 to {MAX_COUNT}")
        # What every network of this package is told too.
        args, classes = entries["network_args"], entries["classes"]
        if args.get("channels", shape[0]) != shape[0] or args.get("classes", classes) < classes:
            raise ValueError("metadata entry 'network_args' is of other channels or fewer classes")
        return cls(**{**entries, "shape": tuple(shape)})


# JSON types of each metadata entry.
_KINDS: dict[str, tuple[type, ...]] = {
    "network": (str,),
    "network_args": (dict,),
    "parameterization": (str,),
    "parameterization_args": (dict,),
    "shape": (list,),
    "sigma_min": (int, float),
    "sigma_max": (int, float),
    "classes": (int,),
    "data": (str,),
    "step": (int,),
    "config": (dict,),
}


def _first_checkpoint(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    """The facts of a file of format 1; the oldest have no checksums."""
    facts: Facts = strict_json.loads(metadata.get("sde_diffusion", "null"), finite=False)
    if type(facts) is not dict or facts.pop("format", None) != 1:
        raise ValueError("metadata is not of format 1")
    for name, checksum in facts.pop("crc32", {}).items():
        if name in tensors and checksum != _crc32(tensors[name]):
            raise ValueError(f"tensor {name} is damaged")
    return facts


def _crc32(tensor: Tensor) -> int:
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data)


CHECKPOINT = SealedKind(
    "checkpoint", 1, "give 'mnist' or a file written by 'sde-diffusion train'", _first_checkpoint
)


def save_checkpoint(path: Path, spec: Spec, tensors: dict[str, Tensor]) -> None:
    """Write tensors and spec, atomically; of several processes, all call this and one writes."""
    content: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor.detach())
        if rank() == 0:
            content[name] = gathered.cpu()
    if rank() == 0:
        CHECKPOINT.write(path, content, asdict(spec))


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
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return given.get("tensor")
        return func(*args, **given)


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
    return spec, denoiser.eval().requires_grad_(False)
