"""A config of the whole space, drawn at random, and what comes of it.

The rule: finite images, or one ``InputError`` in one line that begins with a key; where it gives a
value as an example, that value is taken.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml
from torch import Tensor

from sde_diffusion import wrap
from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import TARGET
from tests.robustness.draws import Draws

HOSTILE: list[Any] = [
    math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-308, 0, 0.0, -1, 2**31, 2**64, 10.5, "text",
    "", [1], [], {"a": 1}, None, True,
]  # fmt: skip
SHAPES = ((2,), (5,), (1, 4, 4), (3, 8, 8))
PREDICTIONS = ("x0", "epsilon", "v", "flow", "score")
# What needs files, measurements or minutes.
APART = (
    "calibrated", "explicit", "daps", "ddnm", "ddrm", "diffpir", "particles", "repaint",
    "apg_momentum", "cfg_zero", "cfgpp", "consistency", "skipped",
)  # fmt: skip
ADAPTIVE = ("adaptive_sde", "dopri", "scipy", "torchsde_adaptive")
VARIANCE = 0.25


@dataclass(frozen=True)
class Config:
    """Keywords of ``sample``, of a model in closed form."""

    shape: tuple[int, ...]
    predicts: str
    classes: int
    levels: tuple[float, float]
    options: dict[str, Any]


def drawn(draw: Draws) -> Config:
    """A config; each draw begins with what is usual."""
    classes = draw.choice([0, 0, 3])
    options: dict[str, Any] = {
        "n": draw.choice([1, 2, 3, 5]),
        "nfe": draw.choice([1, 2, 3, 4, 5, 6, 8, 12, 12, 20, None]),
        "batch_size": draw.choice([128, 1, 2]),
        "dtype": draw.choice(["float32", "float64"]),
        "seed": draw.choice([0, 7, 2**32, 2**63]),
        "denoise_last": draw.chance(30),
        "label": draw.choice([None, "all", 0, 1]) if classes else None,
        "noise": draw.choice(["seeds", "brownian"]),
        "solver": _component(draw, "solver", ("ddim",)),
        "sde": _component(draw, "sde", ("vp",)),
    }
    if draw.chance(60):
        options["grid"] = _component(draw, "grid", ("karras",))
    if draw.chance(40):
        options["guidance"] = [_component(draw, "guidance", among=("cfg", "clip"))]
    name = next(iter(options["solver"])) if type(options["solver"]) is dict else options["solver"]
    if name in ADAPTIVE and not draw.chance(10):
        options["nfe"] = None
    if draw.chance(15):
        options[draw.choice(sorted(options))] = draw.choice(HOSTILE)
    levels = draw.choice([(0.002, 80.0), (1e-9, 1e9)])
    return Config(draw.choice(SHAPES), draw.choice(PREDICTIONS), classes, levels, options)


def _component(
    draw: Draws, group: str, first: tuple[str, ...] = (), among: tuple[str, ...] = ()
) -> Any:
    """A choice of a group, a field of it now and then changed or hostile."""
    usual = [name for name in groups.names(group) if name not in (*APART, *first)]
    name = draw.choice(among or (*first, *usual))
    stated = {k: v for k, v in groups.node(group, name).items() if k != TARGET}
    fields: dict[str, Any] = {}
    for key, value in stated.items():
        kind = draw.below(100)
        if kind >= 92:
            fields[key] = draw.choice(HOSTILE)
        elif kind >= 70 and type(value) in (int, float):
            fields[key] = type(value)(value * draw.choice([0.25, 0.5, 2, 4]))
    return {name: fields} if fields else name


def answer(config: Config) -> Any:
    """What the callable of a model answers: D of N(0, ``VARIANCE`` I), as it is predicted."""

    def model(x: Tensor, sigma: Tensor, *label: Tensor) -> Tensor:
        s = sigma.reshape(-1, *[1] * (x.ndim - 1))
        d = x * VARIANCE / (VARIANCE + s**2)
        n = x / (VARIANCE + s**2) * s
        if config.predicts == "v":
            a = 1 / (1 + s**2).sqrt()
            return a * n - s * a * d
        return {"x0": d, "epsilon": n, "flow": n - d, "score": -n / s}[config.predicts]

    return model


def outcome(config: Config) -> tuple[str, str]:
    """``images``, ``refused`` or ``fault``, and what was said."""
    low, high = config.levels
    model = wrap(
        answer(config), config.shape, config.predicts, classes=config.classes, sigma_min=low,
        sigma_max=high,
    )  # fmt: skip
    try:
        x = model.sample(**config.options).x
    except InputError as error:
        return _judged(config, str(error))
    except Exception as error:
        return "fault", f"{type(error).__name__}: {error}"
    good = bool(x.isfinite().all()) and len(x) > 0
    return ("images", "") if good else ("fault", "images are not finite")


KEY = re.compile(r"[a-zA-Z_][\w.]*(\[\w*\])?(=|:)")
REMEDY = re.compile(r"give|choose|set|loosen|check|leave|lower|change|move|make|type|must|takes?")


def _judged(config: Config, line: str) -> tuple[str, str]:
    """A refusal has a key, one line and a remedy; an example that it gives is taken."""
    if "\n" in line or len(line) > 900 or not KEY.match(line) or not REMEDY.search(line):
        return "fault", f"refused badly: {line}"
    key = line.partition("=")[0].split(".")
    example = re.search(r", such as (.*)$", line)
    chosen = config.options.get(key[0])
    if example and len(key) == 2 and isinstance(chosen, dict):
        ((name, fields),) = chosen.items()
        mended = {name: {**fields, key[1]: yaml.safe_load(example[1])}}
        try:
            groups.resolve(key[0], mended)
        except InputError as error:
            if str(error).startswith(".".join(key) + "="):
                return "fault", f"the example of a refusal is refused: {line}"
    return "refused", line
