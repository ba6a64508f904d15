"""The one type of file that the package writes tensors into: sealed safetensors.

Its metadata hold one entry, ``sealed``, a JSON object:

    {"kind": "reference", "format": 3, "facts": {...},
     "tensors": {NAME: SHA-256 of type, shape and bytes}, "seal": SHA-256 of all of the above}

so that a file whose facts or numbers were damaged is told from a whole one, also where only some
of its tensors are read. Nothing in it is executed. A file costs no more memory than its size, and
that only after its header has been found to agree with the size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sde_diffusion.errors import InputError
from sde_diffusion.system import strict_json
from sde_diffusion.system.notice import notice, printable
from sde_diffusion.system.storage import write_atomically

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)
Facts = dict[str, Any]
Tensors = dict[str, Tensor]

ENTRY = "sealed"
LENGTH = 8  # bytes of a safetensors file that say how long its header is
MAX_HEADER = 16 * 2**20
# Whatever a content that is not the expected one makes a reader raise.
FAULTS = (
    SafetensorError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)


@dataclass(frozen=True)
class SealedKind:
    """A kind of sealed file: a ``reference``, a ``calibration``, ...

    Attributes:
        name: what it is called. format: number of the layout of its facts and tensors.
        remedy: what a user can do who has none, or a bad one.
        earlier: the facts of a file of an unsealed format, of its metadata and tensors; raises any
            of ``FAULTS`` for what is none.
    """

    name: str
    format: int
    remedy: str
    earlier: Callable[[Mapping[str, str], Tensors], Facts] | None = None

    def write(self, path: Path, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Write the file, whole or not at all; InputError if that cannot be."""
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        content = {
            "kind": self.name,
            "format": self.format,
            "facts": strict_json.encoded(facts),
            "tensors": {name: _digest(held[name]) for name in sorted(held)},
        }
        # One entry: of several, the order in the file would be anybody's guess.
        entry = strict_json.dumps({**content, "seal": _seal(content)})
        write_atomically(path, save(held, {ENTRY: entry}))

    def read(
        self, path: Path, key: str, parse: Callable[[Facts, Tensors], T], prefix: str = ""
    ) -> T:
        """What ``parse`` makes of the facts, and of the tensors whose names start with ``prefix``.

        InputError, which names the config key ``key``, for anything that is no such file.
        """
        if not path.is_file():
            raise InputError(f"{key}={path}: no such file; {self.remedy}")
        try:
            return parse(*self._content(path, prefix))
        except InputError as error:
            raise InputError(f"{key}={path}: {error}") from error
        except FAULTS as error:
            raise InputError(
                f"{key}={path}: torn, or no {self.name} of this version ({_reason(error)}); "
                f"{self.remedy}"
            ) from error

    def recall(self, path: Path, parse: Callable[[Facts, Tensors], T]) -> T | None:
        """What an earlier run left at ``path``; None if there is none, or, after a line that says
        why, if it cannot be used. It is then to be made again."""
        try:
            return parse(*self._content(path)) if path.is_file() else None
        except FAULTS as error:
            notice(f"{path.name}: not usable ({_reason(error)}); made again")
            return None

    def _content(self, path: Path, prefix: str = "") -> tuple[Facts, Tensors]:
        check_header(path)
        with safe_open(path, framework="pt") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names if name.startswith(prefix)}
        if ENTRY not in metadata and self.earlier is not None:
            return self.earlier(metadata, tensors), tensors
        content = strict_json.loads(metadata[ENTRY])
        if content.pop("seal") != _seal(content):
            raise ValueError("its checksum is wrong")
        if (content["kind"], content["format"]) != (self.name, self.format):
            raise ValueError(
                f"a {content['kind']} of format {content['format']}, not {self.format}"
            )
        if set(content["tensors"]) != set(names):
            raise ValueError("tensors are missing or strange")
        for name, tensor in tensors.items():
            if content["tensors"][name] != _digest(tensor):
                raise ValueError(f"tensor {name} is damaged")
        return strict_json.decoded(content["facts"]), tensors


def check_header(path: Path) -> None:
    """ValueError unless the header of a safetensors file is sound and agrees with its size."""
    if not path.is_file():  # a pipe would never end
        raise ValueError("no plain file")
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if not 2 <= length <= min(MAX_HEADER, size - LENGTH):
            raise ValueError(f"its header has {length} bytes, the file {size}")
        entries = strict_json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    if LENGTH + length + max(ends, default=0) != size:
        raise ValueError(f"it has {size} bytes, not {LENGTH + length + max(ends, default=0)}")


def first_checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and bytes, in order: the checksum of files of revision 7a19cb7."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _digest(tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    # In a row, whatever the strides of its sides of one; as bytes first: numpy has no bfloat16.
    row = tensor.contiguous().as_strided((tensor.numel(),), (1,))
    return row.view(torch.uint8).numpy().data


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _reason(error: BaseException) -> str:
    text = printable(error, 200) or type(error).__name__
    return f"it has no {text}" if isinstance(error, KeyError) else text


def filled(make: Callable[[], N], tensors: Tensors) -> N:
    """A network with the weights of a file; ValueError where they are of another type.

    No memory is asked for before: a small file must not name a large network.
    """
    with torch.device("meta"):
        network = make()
    expected = network.state_dict()
    if any(value.dtype != expected[name].dtype for name, value in tensors.items()):
        raise ValueError("weights of another type")
    network.load_state_dict(tensors, assign=True)
    return network
