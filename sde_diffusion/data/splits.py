"""Data and what is held out of them."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.config.compose import build
from sde_diffusion.data.base import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.notice import notice

# Images held out of data without splits, at most.
HELD_OUT = 1000


def fixed_order(n: int) -> Tensor:
    """A random order of n rows, always the same: any prefix of it is a fair sample."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))


def both_splits(config: DictConfig) -> tuple[ImageSet, ImageSet]:
    """The data set of ``data=`` and its held-out part, ``data.split=test``.

    Of data without splits, a tenth is held out, at most ``HELD_OUT`` images.
    """
    source: DataSource = build(config.data, "data", DataSource)
    data, fields = source.read(), source.fields()
    if fields.get("split") is None:
        if len(data) < 2:
            raise InputError(f"data={data.name}: one image, and one must be held out; give more")
        return without(data, min(HELD_OUT, -(-len(data) // 10)))
    held_out = source.changed(split="test")
    if data.class_names and "classes" in fields:
        # A class that one split lacks must not move the labels of the others.
        held_out = held_out.changed(classes=data.class_names)
    return data, held_out.read()


def split_off(config: DictConfig, held_out: Any) -> tuple[ImageSet, ImageSet | None]:
    """The data of ``data=``, and what is held out of it.

    ``held_out`` is the name of another split, a number of images to keep out of the reference,
    or None.
    """
    source: DataSource = build(config.data, "data", DataSource)
    data = source.read().as_pictures()
    if held_out is None:
        return data, None
    if not str(held_out).isdecimal():
        if source.fields().get("split") is None:
            notice(f"held_out={held_out}: data={data.name} has no splits, so none are held out")
            return data, None
        return data, source.changed(split=str(held_out)).read()
    n = int(held_out)
    if not 2 <= n <= len(data) - 2:
        raise InputError(f"held_out={n}: give a number from 2 to {len(data) - 2}, or null")
    return without(data, n)


def without(data: ImageSet, n: int) -> tuple[ImageSet, ImageSet]:
    """The data but ``n`` rows, always the same ones of a set of that size, and those rows."""
    out, kept = fixed_order(len(data)).split([n, len(data) - n])
    return data[torch.sort(kept).values], data[torch.sort(out).values]
