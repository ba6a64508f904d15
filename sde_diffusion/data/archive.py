"""Arrays of a numpy archive, read without running anything and without trusting its headers."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.images.blocks import blocks, empty, fill
from sde_diffusion.system.memory import check_memory

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Pictures that are mostly of one grey level are packed to a fiftieth of their size.
RATIO = 50


def names_of(path: str, key: str) -> list[str]:
    """Names of the arrays that an archive holds; InputError if it is none."""
    with _opened(path, key) as archive:
        return _names(archive, f"{key}={path}")


def arrays(path: str, key: str, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the ``wanted`` arrays that an archive holds; pickled objects are refused.

    InputError, which names ``key``, for what is torn, holds a name twice, or says another size than
    it has; its headers are held against the file before any memory is spent.
    """
    where = f"{key}={path}"
    held: dict[str, np.ndarray] = {}
    try:
        with _opened(path, key) as archive:
            there = _names(archive, where)
            size = sum(info.compress_size for info in archive.infolist())
            for name in (name for name in wanted if name in there):
                held[name] = _array(archive, name, size, where)
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{where}: no memory left for its arrays; give fewer images") from None
    except Exception as error:  # zip, deflate and numpy have each their own
        raise _no_archive(where, error) from error
    return held


def _opened(path: str, key: str) -> zipfile.ZipFile:
    try:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):  # a pipe
            raise ValueError("no plain file")
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise InputError(f"{key}={path}: no such file; give the path of an .npz archive") from None
    except IsADirectoryError:
        raise InputError(
            f"{key}={path}: a folder; give the path of an .npz archive, or read pictures in a "
            "folder by data=folder"
        ) from None
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise _no_archive(f"{key}={path}", error) from error


def _no_archive(where: str, error: Exception) -> InputError:
    why = str(error).split("\n")[0][:120] or type(error).__name__
    return InputError(
        f"{where}: not a numpy archive of plain arrays, or torn ({why}); write it again with "
        "numpy.savez"
    )


def _names(archive: zipfile.ZipFile, where: str) -> list[str]:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{where}: holds {twice[0]} twice; write it again with numpy.savez")
    return names


def _array(archive: zipfile.ZipFile, name: str, stored: int, where: str) -> np.ndarray:
    """One array, once its header has been found to agree with its size."""
    full = name if name in archive.namelist() else f"{name}.npy"
    info = archive.getinfo(full)
    if info.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if info.compress_type not in METHODS:
        raise ValueError(f"{name} is packed by method {info.compress_type}")
    with archive.open(info) as file:
        shape, columns, dtype = _header(file)
        start = file.tell()
    if dtype.hasobject or dtype.kind == "V":  # objects are pickled; fields may hold some
        raise InputError(
            f"{where}: {name} is of type {str(dtype)[:60]}, which is not read; write it as one "
            "array of numbers, numpy.stack(list(array)), say"
        )
    needed = math.prod(shape) * dtype.itemsize
    if start + needed != info.file_size:
        raise ValueError(f"{name} has {info.file_size - start} bytes, {shape} takes {needed}")
    if dtype == np.uint8 and len(shape) > 2 and not columns:
        array = empty(shape, stored, RATIO, where)
        with archive.open(info) as file:
            file.read(start)
            for part in blocks(torch.from_numpy(array)):
                fill(part, file.read(part.nbytes))
        return array
    check_memory(needed, stored, RATIO, where)
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:  # 3.0 has names of fields alone in which others differ
        raise ValueError(f"npy format {version}")
    shape, columns, dtype = readers[version](file)
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    return shape, columns, dtype
