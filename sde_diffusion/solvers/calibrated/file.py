"""Calibration files: the rules made for one model, as safetensors with JSON metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.solvers.calibrated.bands import Bands, DctBands, PcaBands
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.system.storage import write_atomically

FORMAT = 2
READ = (1, 2)  # 1 has one mean for all classes, and no "normal" in a rule
KEY = "sde_diffusion_calibration"
REMEDY = "make one with 'sde-diffusion calibrate'"
FIELDS = ("levels", "asked", "weights", "last", "normal")


@dataclass(frozen=True)
class Calibration:
    """Everything that ``solver=calibrated`` needs.

    Attributes:
        model: identity of the denoiser, guidance included. conditional: whether it was given
            conditions. shape: of one image.
        sigma_max: noise level of the start; the rules share their end.
        normal: the law whose flow is the start. rules: by evaluations of the denoiser.
        edges: of the bands of ``Rule.last``; kind: ``pca``, ``dct``, or ``scalar`` for none.
        facts: settings, held-out errors, provenance; plain JSON values.
    """

    model: str
    conditional: bool
    shape: tuple[int, ...]
    sigma_max: float
    normal: Normal
    rules: Mapping[int, Rule]
    kind: str = "scalar"
    edges: tuple[float, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sigma_min(self) -> float:
        """The noise level that the rules end at."""
        return float(next(iter(self.rules.values())).levels[-1])

    @property
    def bands(self) -> Bands | None:
        return bands_of(self.kind, self.edges, self.normal, self.shape)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        tensors = {
            "mean": self.normal.mean.float(),
            "modes": self.normal.modes.float(),
            "variances": self.normal.variances.float(),
        }
        if len(self.normal.labels):
            tensors |= {"labels": self.normal.labels, "means": self.normal.means.float()}
        for n, rule in self.rules.items():
            for name in FIELDS:
                value = getattr(rule, name)
                if value is not None:
                    tensors[f"{n}.{name}"] = value.double()
        facts = {
            "format": FORMAT, "model": self.model, "conditional": self.conditional,
            "shape": list(self.shape), "sigma_max": self.sigma_max, "rest": self.normal.rest,
            "rules": list(self.rules), "kind": self.kind, "edges": list(self.edges),
            "facts": self.facts,
        }  # fmt: skip
        content = {k: v.contiguous() for k, v in tensors.items()}
        write_atomically(path, save(content, {KEY: json.dumps(facts)}))

    @classmethod
    def load(cls, path: Path, key: str = "solver.path") -> Calibration:
        """Read one that ``save`` wrote; InputError names ``key`` for anything else."""
        if not path.is_file():
            raise InputError(f"{key}={path}: no such file; {REMEDY}")
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})[KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts["format"] not in READ:
                raise ValueError(f"format {facts['format']}, not one of {READ}")
            return cls._checked(facts, tensors)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{key}={path}: torn, or not a calibration ({reason}); {REMEDY}"
            ) from error

    @classmethod
    def _checked(cls, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Calibration:
        shape, d = tuple(int(side) for side in facts["shape"]), math.prod(facts["shape"])
        modes = tensors["modes"].double()
        k = len(tensors["variances"])
        if tensors["mean"].shape != (d,) or modes.shape != (k, d):
            raise ValueError("mean and modes are not of the image's shape")
        normal = Normal(
            tensors["mean"].double(), modes, tensors["variances"].double(), float(facts["rest"])
        )
        if "labels" in tensors:
            if tensors["means"].shape != (len(tensors["labels"]), d):
                raise ValueError("labels and means are not of the image's shape")
            normal = replace(normal, labels=tensors["labels"], means=tensors["means"].double())
        rules = {}
        for n in facts["rules"]:
            parts = {name: tensors.get(f"{n}.{name}") for name in FIELDS}
            rule = Rule(**parts)  # type: ignore[arg-type]
            square = rule.weights if rule.normal is None else rule.normal
            shapes = rule.levels.shape, rule.asked.shape, rule.weights.shape, square.shape
            if shapes != ((n + 1,), (n,), (n, n), (n, n)):
                raise ValueError(f"rule {n} is not of {n} evaluations")
            rules[int(n)] = rule
        found = cls(str(facts["model"]), bool(facts["conditional"]), shape,
                    float(facts["sigma_max"]), normal, rules, str(facts["kind"]),
                    tuple(facts["edges"]), facts["facts"])  # fmt: skip
        wide = found.bands
        for n, rule in rules.items():
            rows = 0 if rule.last is None else len(rule.last)
            if rows and (wide is None or rule.last is None or rule.last.shape != (wide.count, n)):
                raise ValueError(f"rule {n} has {rows} bands")
        if not rules:
            raise ValueError("no rules")
        return found


def bands_of(
    kind: str, edges: tuple[float, ...], normal: Normal, shape: tuple[int, ...]
) -> Bands | None:
    """The bands of that kind; None for ``scalar``."""
    if kind == "pca":
        return PcaBands(normal.modes, [int(edge) for edge in edges])
    if kind == "dct":
        return DctBands(shape, edges)
    if kind != "scalar":
        raise ValueError(f"bands of kind {kind}")
    return None
