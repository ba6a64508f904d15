"""Pixels of more images than should lie in memory: in a file without a name, read in blocks.

Beyond ``BOUND`` bytes, ``empty`` maps a temporary file (its folder is Python's, TMPDIR where that
is set). A tensor of it is used as any other; who goes through it by ``blocks`` has one in memory.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary, finalize

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.system.memory import check_memory, check_ratio

BOUND = 8 * 2**20  # bytes of pixels that are kept in memory as they are
BLOCK = 2 * 2**20  # bytes of a block
LEFT = 2  # times what is written must be free where it is written


class _Mapped(mmap.mmap):
    """A mapped file, which ``fd`` writes."""

    fd: int


# The maps of files by the address of their first byte, as long as an array is made of them.
_MAPS: WeakValueDictionary[int, _Mapped] = WeakValueDictionary()


def empty(shape: Sequence[int], stored: int = 0, ratio: int = 0, where: str = "") -> np.ndarray:
    """uint8 of a shape, to be written block by block: in memory, or in a file where they are many.

    InputError, with ``where``, as ``check_memory`` has it of ``stored`` bytes and a ``ratio``.
    """
    size = math.prod(shape)
    if where:
        check_ratio(size, stored, ratio, where)
    # What has no place on the disk, or a system that keeps none, is kept in memory.
    with contextlib.suppress(OSError, AttributeError):
        if size > BOUND and shutil.disk_usage(tempfile.gettempdir()).free >= LEFT * size:
            with tempfile.TemporaryFile() as file:
                os.posix_fallocate(file.fileno(), 0, size)
                mapped = _Mapped(file.fileno(), size)
                mapped.fd = os.dup(file.fileno())
                finalize(mapped, os.close, mapped.fd)
            array = np.frombuffer(mapped, np.uint8)
            _MAPS[array.ctypes.data] = mapped
            return array.reshape(shape)
    if where:
        check_memory(size, stored, ratio, where)
    return np.empty(shape, np.uint8)


def blocks(images: Tensor, rows: int = 0) -> Iterator[Tensor]:
    """Views [B, ...] of images [N, ...], one after the other; of a mapped file one is in memory.

    ``rows``: how many of them at a time, 0 for as many as are ``BLOCK`` bytes.
    """
    for part in images.split(rows or max(1, BLOCK // max(1, images[:1].nbytes))):
        yield part
        release(images)


def fill(part: Tensor, content: Any) -> None:
    """Write the bytes of a contiguous part of images, from a buffer that holds as many.

    Of a mapped file by its descriptor: the system finds a place for all its pages at once, not for
    one after the other as each is first written to, which takes ten times as long.
    """
    mapped = _mapped(part)
    if mapped is None:
        part.view(-1).numpy()[:] = np.frombuffer(content, np.uint8)
        return
    left, at = memoryview(content).cast("B"), part.data_ptr() - part.untyped_storage().data_ptr()
    while left:
        written = os.pwrite(mapped.fd, left, at)
        left, at = left[written:], at + written


def release(images: Tensor) -> None:
    """Give the memory back that a mapped file takes; it is read again where it is used again."""
    mapped = _mapped(images)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def each(
    images: Tensor,
    change: Callable[[Tensor], Tensor],
    rows: Tensor | None = None,
    bound: tuple[int, int, str] = (0, 0, ""),
) -> Tensor:
    """``change`` of images[rows] uint8, which takes each row for itself, block by block.

    ``bound``: what ``empty`` is told of bytes stored, their ratio, and KEY=PATH.
    """
    n = len(images if rows is None else rows)
    changed = torch.from_numpy(empty((n, *change(images[:1]).shape[1:]), *bound))
    first = 0
    for part in blocks(changed):
        some = slice(first, first + len(part))
        fill(part, change(images[some if rows is None else rows[some]]).contiguous().numpy())
        release(images)
        first += len(part)
    return changed


def taken(images: Tensor, rows: slice | Tensor) -> Tensor:
    """images[rows]; of a mapped file, block by block into another."""
    if isinstance(rows, slice) or rows.dtype == torch.bool or _mapped(images) is None:
        return images[rows]
    # A single channel may come first or last, and kernels choose by that.
    layout = images[rows[:2]].stride()
    return each(images, lambda part: part, rows).as_strided((len(rows), *images.shape[1:]), layout)


def _mapped(images: Tensor) -> _Mapped | None:
    return _MAPS.get(images.untyped_storage().data_ptr())
