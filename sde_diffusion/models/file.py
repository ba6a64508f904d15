"""Checkpoints: safetensors with JSON metadata; a file can name registered networks only.

Metadata key ``sde_diffusion`` holds the fields of ``Spec``, ``"format": 1`` and ``"crc32"`` as one
JSON object: a checksum of each tensor, so that a file damaged on its disk is told from a whole
one; old files have none. Tensors ``model.*`` are the (EMA) weights that everybody loads;
``train.*`` are the raw weights and the optimizer state from which training resumes.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sde_diffusion import networks
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS
from sde_diffusion.errors import InputError
from sde_diffusion.system.processes import rank, whole
from sde_diffusion.system.storage import fingerprint, write_atomically

FORMAT = 1
KEY = "sde_diffusion"
CHECKSUMS = "crc32"
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
                f"denoiser={self.parameterization}: choose one of {sorted(PARAMETERIZATIONS)}"
            )
        try:
            parameterization = PARAMETERIZATIONS[self.parameterization](
                **self.parameterization_args
            )
        except TypeError as error:
            raise InputError(f"denoiser={self.parameterization}: {error}") from error
        return NetworkDenoiser(
            networks.build(self.network, self.network_args),
            parameterization,
            tuple(self.shape),
            self.sigma_min,
            self.sigma_max,
        )

    @classmethod
    def parse(cls, text: str) -> Spec:
        """The spec of a file's JSON metadata; ValueError names the entry that is wrong."""
        entries = json.loads(text)
        if type(entries) is not dict or entries.pop("format", None) != FORMAT:
            raise ValueError(f"metadata is not of format {FORMAT}")
        entries.pop(CHECKSUMS, None)
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


def save_checkpoint(path: Path, spec: Spec, tensors: dict[str, Tensor]) -> None:
    """Write tensors and spec, atomically; of several processes, all call this and one writes."""
    content: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor.detach())
        if rank() == 0:
            content[name] = gathered.cpu().contiguous()
    if rank() == 0:
        sums = {name: _crc32(t) for name, t in sorted(content.items())}
        # One key: of several, the order in the file would be anybody's guess.
        entries = {"format": FORMAT, CHECKSUMS: sums, **asdict(spec)}
        write_atomically(path, save(content, {KEY: json.dumps(entries)}))


def _crc32(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def read_checkpoint(path: Path, prefix: str = "") -> tuple[Spec, dict[str, Tensor]]:
    """The spec and the tensors whose names start with ``prefix``; InputError if not ours."""
    if not path.is_file():
        raise InputError(f"checkpoint={path}: no such file; give a .safetensors file or 'mnist'")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY, "null")
            spec = Spec.parse(text)
            sums = json.loads(text).get(CHECKSUMS, {})
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names}
        for name, tensor in tensors.items():
            if name in sums and sums[name] != _crc32(tensor):
                raise ValueError(f"tensor {name} is damaged")
        return spec, {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"checkpoint={path}: torn, or not a checkpoint of this package ({reason}); "
            "give a file written by 'sde-diffusion train'"
        ) from error


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
