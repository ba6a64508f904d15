"""Plain values as a user of Python gives them: numpy's and torch's numbers and names are taken."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.images.pixels import to_float
from sde_diffusion.process.grids import Explicit
from sde_diffusion.process.noise import checked_seed, checked_seeds
from sde_diffusion.sampling.execute import STATE_DTYPES
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.spelling import none_of

MOST_ROWS = 10_000_000  # images of one call
SIDES_OF_PICTURE = 3
DARK = 0.5  # below this a picture of 0 .. 1 has a level, one of -1 .. 1 levels below 0 too
FAR = 16  # above this no image is meant for -1 .. 1


def whole(key: str, value: Any, low: int, high: int = 2**63 - 1) -> int:
    """A whole number low .. high, of any library; InputError, which names ``key``, otherwise."""
    number = getattr(value, "tolist", lambda: value)()
    try:
        integer = low - 1 if isinstance(number, bool) else operator.index(number)
    except TypeError:
        integer = low - 1
    if not low <= integer <= high:
        limit = f">= {low}" if high == 2**63 - 1 and integer < low else f"from {low} to {high}"
        raise InputError(f"{key}={shown(repr(value))}: give a whole number {limit}")
    return integer


def number(key: str, value: Any) -> float:
    """A finite number, of any library; InputError, which names ``key``, otherwise."""
    plain = getattr(value, "tolist", lambda: value)()
    if type(plain) not in (int, float) or not math.isfinite(plain):
        raise InputError(f"{key}={shown(repr(value))}: give a finite number")
    return float(plain)


def state_dtype(value: torch.dtype | str) -> torch.dtype:
    """float32 or float64, by torch's object or by name."""
    return dtype_of("dtype", value, STATE_DTYPES)


def dtype_of(key: str, value: Any, allowed: Mapping[str, torch.dtype]) -> torch.dtype:
    """One of these by torch's object or numpy's, or by name."""
    name = value.__name__ if isinstance(value, type) else str(value).removeprefix("torch.")
    if name not in allowed:
        raise none_of(key, name, allowed)
    return allowed[name]


def tensor(key: str, value: Any, like: str) -> Tensor:
    """A tensor of numbers from torch, numpy or lists, of the types that torch reckons with;
    ``like`` says what was expected."""
    if isinstance(value, Tensor):
        odd = value.is_complex() or value.is_quantized or value.is_meta
        if odd or value.layout is not torch.strided:
            kind = "without numbers" if value.is_meta else f"{value.dtype}, {value.layout}"
            raise InputError(f"{key}: {kind}; give {like}")
        held = value.detach()
        return (
            held.float()
            if held.dtype.itemsize == 1 and held.is_floating_point()
            else _of_sign(held)
        )
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub" or not array.ndim:
            raise TypeError("not numbers")
        native = array.dtype.newbyteorder("=")
        plain = array.astype(np.float64 if native.itemsize > 8 else native, copy=False)
        # A copy of what may not be written, as Pillow's pictures: torch would warn.
        return _of_sign(torch.from_numpy(np.require(plain, requirements=["C", "W"])))
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: a {type(value).__name__}; give {like}") from error


def _of_sign(x: Tensor) -> Tensor:
    """Whole numbers without sign, but for bytes, as those that have one."""
    return x.to(torch.int64) if x.dtype in (torch.uint16, torch.uint32, torch.uint64) else x


def chosen_seeds(n: Any, seeds: Any, seed: Any, default: int = 16) -> list[int]:
    """The seeds of a call: those given, else n of them from ``seed`` on."""
    if seeds is None:
        count = whole("n", default if n is None else n, 1, MOST_ROWS)
        first = checked_seed(0 if seed is None else seed, "seed")
        return checked_seeds(range(first, first + count))
    if seed is not None:
        raise InputError("seed: seeds are given too; leave one of the two out")
    chosen = checked_seeds(seeds)
    if n is not None and whole("n", n, 1) != len(chosen):
        raise InputError(f"n={n}: seeds are {len(chosen)}; leave one of the two out")
    return chosen


def rows_of(value: Any) -> int:
    """How many rows an array or a list has; 0 of what is none."""
    return len(value) if is_several(value) and hasattr(value, "__len__") else 0


def levels_as_grid(grid: Any) -> Any:
    """A list of noise levels as the grid that holds it; anything else as it is."""
    plain = getattr(grid, "tolist", lambda: grid)()
    if isinstance(plain, list | tuple) and plain and not isinstance(plain[0], Mapping | str):
        levels = [each if each == math.inf else number("grid", each) for each in plain]
        try:
            Explicit(levels)
        except InputError as error:  # of the key that was given
            raise InputError(str(error).replace("grid.levels", "grid", 1)) from None
        return {"explicit": {"levels": levels}}
    return grid


def pixels(key: str, value: Any, like: str) -> Tensor:
    """Images in -1 .. 1 from uint8 or floats of about that range; InputError for other ranges."""
    x = tensor(key, value, like)
    if x.dtype == torch.bool:
        raise InputError(f"{key}: true and false; give {like}")
    low, high = (float(x.min()), float(x.max())) if x.numel() else (0.0, 0.0)
    if not x.is_floating_point():
        if not 0 <= low <= high <= 255 or high == 1:
            raise InputError(f"{key}: whole numbers {low:g} .. {high:g}; give {like}")
        return to_float(x)
    if max(-low, high) > FAR:
        raise InputError(f"{key}: values up to {max(-low, high):g}; give {like}")
    if x.ndim >= SIDES_OF_PICTURE and 0 <= low < DARK and 0 < high <= 1:
        raise InputError(
            f"{key}: floats {low:g} .. {high:g}, none negative; give 2 * x - 1, which is in "
            "-1 .. 1, or uint8"
        )
    return x


def truth(key: str, value: Any) -> bool:
    """True or False, of Python or numpy; InputError for what is merely true in an ``if``."""
    plain = getattr(value, "tolist", lambda: value)()
    if not isinstance(plain, bool):
        raise InputError(f"{key}={shown(repr(value))}: give True or False")
    return plain


def several(key: str, value: Any, low: int) -> list[int]:
    """One whole number >= ``low``, or a list of them."""
    if not is_several(value):
        return [whole(key, value, low)]
    numbers = [whole(key, each, low) for each in value]
    if not numbers:
        raise InputError(f"{key}=[]: give at least one")
    return numbers


def listed(key: str, value: Any) -> list[Any]:
    """A list of choices; one that stands alone is a list of one."""
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        return [value]
    if not (entries := list(value)):
        raise InputError(f"{key}=[]: give at least one")
    return entries


def is_several(value: Any) -> bool:
    """Whether it is a list, an array or a range of values, and no single one."""
    plain = getattr(value, "tolist", lambda: value)()
    return isinstance(plain, Iterable) and not isinstance(plain, str | bytes | Mapping)


def hearer(key: str, value: Any, *hears: str) -> Any:
    """A function that can be called with as many arguments as it ``hears``, or None."""
    remedy = f"give a function of {' and '.join(hears)}"
    if value is None:
        return None
    if not callable(value):
        raise InputError(f"{key}={value!r}: {remedy}")
    try:
        inspect.signature(value).bind(*hears)
    except TypeError as error:
        raise InputError(f"{key}: {error}; {remedy}") from None
    except ValueError:  # of a builtin nothing is known
        return value
    return value


def place(key: str, value: Any) -> Path:
    """A path that is not empty, as that of a variable that was never set is."""
    if not isinstance(value, str | Path) or not str(value):
        raise InputError(f"{key}={value!r}: give a path")
    return Path(value)
