"""How much memory there is, asked before it is spent."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sde_diffusion.errors import InputError

GIB = 2**30
# What a set of data may take whatever its files are like, and how much more than they: beyond, it
# is taken for a file made to fill the memory.
FREE = 2 * GIB


def available() -> int:
    """Bytes that this process may still take: of the machine, and of its container's limit."""
    bounds = (
        [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if os.name == "posix" else []
    )
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        bounds.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        bounds.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(bounds, default=64 * GIB)


def check_memory(needed: int, stored: int, ratio: int, where: str) -> None:
    """InputError unless ``needed`` bytes are there, and are not far more than the ``stored`` ones.

    Args:
        needed: bytes that the data will take. stored: size of the files that they are in.
        ratio: how many times their size is believable, above ``FREE``.
        where: KEY=PATH.
    """
    check_ratio(needed, stored, ratio, where)
    if needed > (there := available()):
        raise InputError(
            f"{where}: needs {needed / GIB:.1f} GiB of memory, and {there / GIB:.1f} are there; "
            "give fewer or smaller images"
        )


def check_ratio(unpacked: int, stored: int, ratio: int, where: str, free: int = FREE) -> None:
    """InputError for more than ``free`` bytes that are more than ``ratio`` times the stored."""
    if unpacked > max(free, ratio * stored):
        raise InputError(
            f"{where}: unpacks to {unpacked / GIB:.1f} GiB or more, over {free / GIB:.0f} GiB and "
            f"{ratio:,} times the {stored:,} bytes of its files; give fewer images"
        )
