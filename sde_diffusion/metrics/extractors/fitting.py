"""The extractor that suits images of a shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sde_diffusion.config import groups
from sde_diffusion.metrics.extractors.random_conv import MIN_SIDE
from sde_diffusion.system.identity import TARGET

# Classifiers that are shipped with the statistics of their data.
OF_DATA = {"shapes": "shapes-cnn"}
SHIPPED = {(1, 28, 28): "mnist-cnn", (3, 32, 32): "cifar-cnn"}
MOST_FEATURES = 64
NAMED_SIDES = ("pixel", "random-conv")  # have fields for the shape of images


def usual(shape: Sequence[int], data: str = "") -> dict[str, dict[str, Any]]:
    """{name: fields} for images (C, H, W): a shipped classifier, or what needs no training.

    ``data`` is the name of their data set with its split, ``shapes-train``, where it is known.

    Random convolutions, or of images under 16 pixels the pixels, averaged over squares until they
    are at most 64.
    """
    c, h, w = shape
    if (name := data.rpartition("-")[0]) in OF_DATA:
        return {OF_DATA[name]: {}}
    if tuple(shape) in SHIPPED:
        return {SHIPPED[c, h, w]: {}}
    if min(h, w) >= MIN_SIDE:
        return {"random-conv": {}}
    side = math.gcd(h, w)
    pools = [p for p in range(1, side + 1) if side % p == 0]
    few = [p for p in pools if c * (h // p) * (w // p) <= MOST_FEATURES]
    return {"pixel": {"pool": few[0] if few else side}}


def fitted(node: Mapping[str, Any], shape: Sequence[int] | None) -> dict[str, Any]:
    """The node of an extractor, whose channels and size are those of images of ``shape`` (C, H, W)
    where they are not given."""
    name = next((n for n in NAMED_SIDES if groups.node("extractor", n)[TARGET] == node[TARGET]), "")
    if shape is None or not name:
        return dict(node)
    defaults = groups.node("extractor", name)
    sizes = sides(name, shape)
    return {key: sizes.get(key, v) if v == defaults.get(key) else v for key, v in node.items()}


def sides(name: str, shape: Sequence[int]) -> dict[str, int]:
    """What the extractor of that name has fields for, of the shape (C, H, W) of images."""
    takes = groups.node("extractor", name)
    sizes = dict(zip(("channels", "height", "width"), shape, strict=True))
    return {key: side for key, side in sizes.items() if key in takes}
