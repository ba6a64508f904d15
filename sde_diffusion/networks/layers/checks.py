"""Refusals of arguments that make no network: one line that names the argument and its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sde_diffusion.errors import InputError

# Every network's sizes, low and high: larger ones are mistakes, or ask for absurd memory.
CHANNELS = (1, 4096)
EMBEDDING = (1, 8192)
CLASSES = (0, 1_000_000)
AUGMENT = (0, 4096)
DROPOUT = (0.0, 1.0)
WIDTH = (4, 8192)
RESOLUTIONS = 8


def within(ranges: Mapping[str, tuple[Any, float, float]]) -> None:
    """InputError unless each ``name: (value, low, high)`` is a number from low to high."""
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise InputError(f"network.{name}={value}: give {low:g} to {high:g}")


def flags(values: Mapping[str, Any]) -> None:
    """InputError unless each value is true or false: other values would pass for one of them."""
    for name, value in values.items():
        if type(value) is not bool:
            raise InputError(f"network.{name}={value}: give true or false")


def resolutions(widths: Sequence[int], attention: Sequence[int]) -> None:
    """InputError unless ``widths`` are 1 to 8 sizes and ``attention`` indexes them."""
    if not 1 <= len(widths) <= RESOLUTIONS:
        raise InputError(f"network.widths: {len(widths)} resolutions; give 1 to {RESOLUTIONS}")
    within({f"widths[{i}]": (width, *WIDTH) for i, width in enumerate(widths)})
    within({f"attention[{i}]": (k, 0, len(widths) - 1) for i, k in enumerate(attention)})


def common(channels: int, embedding: int, classes: int, dropout: float, augment: int) -> None:
    """InputError unless the arguments that every network has are within range."""
    within(
        {
            "channels": (channels, *CHANNELS),
            "embedding": (embedding, *EMBEDDING),
            "classes": (classes, *CLASSES),
            "dropout": (dropout, *DROPOUT),
            "augment": (augment, *AUGMENT),
        }
    )


def images(x: Tensor) -> None:
    """InputError unless x is a batch of images."""
    if x.ndim != 4:
        raise InputError(
            f"network: data of shape {tuple(x.shape[1:])}; this one is for images [C, H, W], "
            "network=mlp is for vectors"
        )


def halves(x: Tensor, multiple: int) -> None:
    """InputError unless x is a batch of images whose sides are multiples of ``multiple``."""
    images(x)
    if x.shape[-1] % multiple or x.shape[-2] % multiple:
        raise InputError(
            f"network: image sides {tuple(x.shape[-2:])} must be multiples of {multiple}; give "
            "fewer network.widths"
        )


def body(blocks: int, patch: int, head_width: int) -> None:
    """InputError unless the sizes that U-shaped networks share are within range."""
    within(
        {
            "blocks": (blocks, 1, 64),
            "patch": (patch, 1, 64),
            "head_width": (head_width, 1, WIDTH[1]),
        }
    )


def side(
    text: Sequence[int], layout: Sequence[int], reference: int, text_width: int, text_depth: int
) -> None:
    """InputError unless the sizes of side inputs are within range."""
    if len(text) not in (0, 2) or len(layout) > 8:
        raise InputError(
            f"network.text={list(text)}, layout={list(layout)}: give two numbers or none, and at "
            "most 8"
        )
    within({f"text[{i}]": (n, 1, 65536) for i, n in enumerate(text)})
    within({f"layout[{i}]": (n, 1, 256) for i, n in enumerate(layout)})
    within({"reference": (reference, 0, 512), "text_depth": (text_depth, 0, 64)})
    within({"text_width": (text_width, *WIDTH)})
    if 0 < reference < 8:
        raise InputError(f"network.reference={reference}: give 0, or 8 to 512")
