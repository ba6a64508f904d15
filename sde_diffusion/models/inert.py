"""Pickles and torch files read as data: a list of inert names, and nothing in a file runs.

A pickle is a program that may name any function. This reader knows the few names that a model file
needs, answers each with a plain stand-in, and refuses all others. Bytes of tensors are counted
before memory is spent: a small file cannot ask for much.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.errors import InputError

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# A tree of modules may refer to itself: how much of it is read.
MAX_ENTRIES, MAX_NAME = 100_000, 1000
MAGIC = 0x1950A86A20F9469CFC6C  # of torch files before zip
Load = Callable[[str, torch.dtype, int], Tensor]


class Inert:
    """What stands for an object of another package: its name, arguments and state, as data."""

    name = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs, self.state = args, kwargs, {}  # type: ignore[var-annotated]

    def __setstate__(self, state: Any) -> None:
        self.state = state


class InertDict(dict[Any, Any]):
    """What stands for a dictionary of another package (``dnnlib.EasyDict``), or a namespace."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)


class Persistent:
    """An object of EDM's ``torch_utils.persistence``: its class by name, its source left unread."""

    def __init__(self, meta: Any) -> None:
        if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
            raise pickle.UnpicklingError("a persistent object without a class name")
        self.name: str = meta["class_name"]
        self.state: Any = meta.get("state")

    @property
    def fields(self) -> dict[str, Any]:
        """The attributes of the module."""
        return self.state if isinstance(self.state, dict) else {}


class InertDtype:
    """numpy's dtype, by its letters."""

    def __init__(self, letters: Any = "", *rest: Any) -> None:
        if letters not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
            raise pickle.UnpicklingError(f"numbers of type {letters!r}")
        self.dtype = np.dtype(letters)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class InertArray:
    """numpy's array, filled by its state."""

    def __init__(self, *args: Any) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        values = np.frombuffer(content, dtype.dtype)
        if math.prod(shape) != len(values):
            raise pickle.UnpicklingError("an array of another size than its content")
        self.value = values.reshape(shape, order="F" if fortran else "C")


def _scalar(dtype: InertDtype, content: bytes) -> float | int | bool:
    number: float | int | bool = np.frombuffer(content, dtype.dtype)[0].item()
    return number


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """A view of a storage, inside of it."""
    numbers = (offset, *size, *stride)
    if any(type(n) is not int or n < 0 for n in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor of impossible sizes")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    count = math.prod(size)
    if count > storage.numel() or (count and last >= storage.numel()):
        raise pickle.UnpicklingError("a tensor that is larger than its storage")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _nested(content: bytes) -> Tensor:
    """A storage that a plain pickle holds as a torch file of its own."""
    storage = _legacy(io.BytesIO(content))
    if not isinstance(storage, Tensor):
        raise pickle.UnpicklingError("bytes that are no storage")
    return storage


_NUMPY = {
    f"{package}.multiarray.{name}": stand
    for package in ("numpy.core", "numpy._core")
    for name, stand in (("scalar", _scalar), ("_reconstruct", InertArray))
}
NAMES: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": InertDict,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.storage._load_from_bytes": _nested,
    "torch.nn.modules.container.ModuleDict": Inert,
    "torch.nn.modules.container.ModuleList": Inert,
    "torch.nn.modules.container.Sequential": Inert,
    "torch_utils.persistence._reconstruct_persistent_obj": Persistent,
    "dnnlib.util.EasyDict": InertDict,
    "argparse.Namespace": InertDict,
    "numpy.dtype": InertDtype,
    "numpy.ndarray": InertArray,
    **_NUMPY,
    **{f"torch.{name}": dtype for name, dtype in DTYPES.items()},
}


class InertUnpickler(pickle._Unpickler):
    """Python's own unpickler with the list of names; that in C makes memory for a memo unseen."""

    def __init__(self, file: io.BufferedIOBase | io.BytesIO, load: Load | None = None) -> None:
        super().__init__(file)
        self.of = load

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path not in NAMES:
            raise pickle.UnpicklingError(
                f"it names {path[:80]}, which is none of the inert names of a model file"
            )
        return NAMES[path]

    def persistent_load(self, key: Any) -> Tensor:
        if self.of is None or type(key) is not tuple or len(key) < 5 or key[0] != "storage":
            raise pickle.UnpicklingError("a persistent id that is no storage")
        _, dtype, name, _, count = key[:5]
        if not isinstance(dtype, torch.dtype) or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("a storage of no known type")
        return self.of(str(name), dtype, count)


def _values(content: bytes, dtype: torch.dtype, count: int) -> Tensor:
    if len(content) != count * dtype.itemsize:
        raise pickle.UnpicklingError("a storage of another size than its content")
    if not count:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype)


def _legacy(file: io.BytesIO) -> Any:
    """A torch file from before zip: pickles, and after them the storages one after the other."""
    if InertUnpickler(file).load() != MAGIC:
        raise pickle.UnpicklingError("bytes that are no torch file")
    for _ in ("protocol", "machine"):
        InertUnpickler(file).load()
    size, asked = len(file.getbuffer()), {}

    def later(name: str, dtype: torch.dtype, count: int) -> Tensor:
        if count * dtype.itemsize > size:
            raise pickle.UnpicklingError("a storage that is larger than the file")
        if name not in asked:
            asked[name] = torch.empty(count, dtype=dtype)
        return asked[name]

    content = InertUnpickler(file, later).load()
    for name in InertUnpickler(file).load():
        storage = asked[name]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.numel():
            raise pickle.UnpicklingError("a storage of two sizes")
        storage.copy_(_values(file.read(count * storage.itemsize), storage.dtype, count))
    return content


def _zipped(file: zipfile.ZipFile) -> Any:
    """A torch file: NAME/data.pkl, and a stored entry for each storage."""
    entries = {entry.filename: entry for entry in file.infolist()}
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise pickle.UnpicklingError("a compressed entry, which torch does not write")
    main = next((name for name in entries if name.endswith("data.pkl")), None)
    if main is None:
        raise pickle.UnpicklingError("a zip file without data.pkl")
    root, loaded = main.removesuffix("data.pkl"), {}

    def storage(name: str, dtype: torch.dtype, count: int) -> Tensor:
        if name not in loaded:
            loaded[name] = _values(file.read(f"{root}data/{name}"), dtype, count)
        values: Tensor = loaded[name]
        if values.dtype != dtype or values.numel() != count:
            raise pickle.UnpicklingError("a storage of two sizes")
        return values

    return InertUnpickler(io.BytesIO(file.read(main)), storage).load()


def read(path: Path) -> Any:
    """The content of a pickle or torch file, inert; InputError in one line if it is none.

    Modules come as ``Persistent`` or ``Inert``, dictionaries as dictionaries, tensors as tensors.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                return _zipped(file)
        content = io.BytesIO(path.read_bytes())
        if content.getbuffer()[:16].tobytes().find(MAGIC.to_bytes(10, "little")) >= 0:
            return _legacy(content)
        return InertUnpickler(content).load()
    except Exception as error:  # a hostile pickle can raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"checkpoint={path}: is no model file that can be read as data ({reason}); nothing of "
            "it was run. Give a checkpoint of sde-diffusion, EDM, score_sde, ADM, DiT or SiT"
        ) from error


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle or a torch file, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4)
    return head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or head == b"PK\x03\x04"


def mentions(path: Path, *names: bytes) -> bool:
    """Whether all of these names stand near the beginning of a file."""
    with path.open("rb") as file:
        head = file.read(2**20)
    return all(name in head for name in names)


def tensors(module: Any) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers of an inert module, by the names of its state dict.

    InputError for a tree that is no network's: too deep, too large, of other things than modules.
    """
    left, seen = [("", module)], 0
    while left:
        prefix, module = left.pop()
        fields = module.fields if isinstance(module, Persistent) else getattr(module, "state", None)
        parts = [
            (fields.get(kind) or {}) if isinstance(fields, dict) else None
            for kind in ("_parameters", "_buffers", "_modules")
        ]
        named = [part for part in parts if isinstance(part, dict)]
        seen += 1 + sum(len(part) for part in named)
        longest = max((len(str(name)) for part in named for name in part), default=0)
        if seen > MAX_ENTRIES or len(prefix) + longest > MAX_NAME or len(named) < len(parts):
            raise InputError(
                f"its modules are no network's (more than {MAX_ENTRIES} entries, names of more "
                f"than {MAX_NAME} characters, or no modules); give the authors' own file"
            )
        for part in named[:2]:
            for name, value in part.items():
                if isinstance(value, Tensor):
                    yield f"{prefix}{name}", value
        children = [(f"{prefix}{name}.", m) for name, m in named[2].items() if m is not None]
        left.extend(reversed(children))
