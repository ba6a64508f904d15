"""Every argument of every component meets values that it cannot be.

Each is taken, or refused in one line that names a field of the component and a remedy, and the
value that the remedy gives as an example is taken.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import pytest
import yaml

from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import TARGET

HOSTILE: list[Any] = [
    math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-308, 0, 0.0, -1, 2**31, 2**64, 1e9, 10.5,
    "text", "", "1e400", "nan", [1], [], [math.nan], {"a": 1}, None, True,
]  # fmt: skip
# Numbers that nothing takes, but for ends that are open.
NEVER = [math.nan, math.inf, -math.inf, 1e308, -1e308]
OPEN = {("heun", "s_tmin"), ("heun", "s_tmax"), ("sa_solver", "tau_max")}
# Of these no extreme is taken, finite or not: their ranges stand beside their arguments.
BOUNDED = {("gaussian_blur", "width"), ("motion_blur", "length"), ("motion_blur", "angle")}
# What has to be there, or is large.
FILES = ("inception", "dinov2", "torchscript", "pca", "folder", "npz", "huggingface", "vectors",
         "cifar10", "fashion_mnist")  # fmt: skip
SMALL = ("unet_small", "mlp")


def choices() -> list[tuple[str, str]]:
    return [
        (group, name)
        for group in groups.BASES
        for name in groups.names(group)
        if name not in FILES and (group != "network" or name in SMALL)
    ]


@cache
def beside() -> dict[str, Any]:
    return {"sde": groups.resolve("sde", "vp"), "levels": groups.resolve("levels", "loguniform")}


def refusal(group: str, name: str, fields: dict[str, Any]) -> str | None:
    """What is said of a component with these fields; None if it is made."""
    usual = {"levels": [3.0, 2.0, 1.0]} if name == "explicit" else {}
    try:
        groups.resolve(group, {name: {**usual, **fields}}, None, beside())
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("group", "name"), choices())
def test_hostile_values(group: str, name: str) -> None:
    fields = [field for field in groups.node(group, name) if field != TARGET]
    for field in fields:
        for value in HOSTILE:
            said = refusal(group, name, {field: value})
            if said is None:
                text = type(groups.node(group, name)[field]) in (str, type(None))
                finite = isinstance(value, float) and math.isfinite(value)
                assert value not in NEVER or (name, field) not in BOUNDED, (field, value)
                assert text or value not in NEVER or (name, field) in OPEN or finite, (field, value)
                continue
            match = re.match(r"\w+\.([\w.]+)", said)
            assert match is not None, said
            assert set(match[1].split(".")) & set(fields) or said.startswith("operator."), said
            assert "\n" not in said, said
            assert len(said) < 600, said
            if (example := re.search(r", such as (.*)$", said)) is not None:
                mended = {field: value, match[1]: yaml.safe_load(example[1])}
                assert refusal(group, name, mended) is None, said
