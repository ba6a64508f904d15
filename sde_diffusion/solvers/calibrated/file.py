"""Calibration files: the rules made for one model, as safetensors with JSON metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sde_diffusion.solvers.calibrated.bands import Bands, DctBands, PcaBands
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.system import strict_json
from sde_diffusion.system.names import of_today
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, first_checksum

FIELDS = tuple(field.name for field in fields(Rule))


def _first_calibration(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    facts: Facts = strict_json.loads(metadata["sde_diffusion_calibration"], finite=False)
    if facts["format"] not in (1, 2):  # 1 has one mean for all classes, no "normal" in a rule
        raise ValueError(f"format {facts['format']}")
    return facts


CALIBRATION = SealedKind(
    "calibration", 3, "make one with 'sde-diffusion calibrate'", _first_calibration
)


@dataclass(frozen=True, repr=False)
class Calibration:
    """Everything that ``solver=calibrated`` needs.

    Attributes:
        model: identity of the denoiser, guidance included. conditional: whether it was given
            conditions. shape: of one image.
        sigma_max: noise level of the start; the rules share their end.
        start: the first state is start sigma_max n.
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
    start: float = 1.0

    @property
    def sigma_min(self) -> float:
        """The noise level that the rules end at."""
        return float(next(iter(self.rules.values())).levels[-1])

    @property
    def bands(self) -> Bands | None:
        return bands_of(self.kind, self.edges, self.normal, self.shape)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """A row a rule: relative RMS error to converged images of held-out noises, and that of the
        standard solver of least error; none where they were not kept."""
        rows = []
        for calls, errors in self.facts.get("held_out", {}).items():
            standard = errors["standard"]
            best = min(standard, key=standard.__getitem__)
            rows.append(
                {
                    "calls": int(calls),
                    "error": errors["joint"],
                    "standard": best,
                    "standard_error": standard[best],
                    "ratio": errors["joint"] / standard[best],
                }
            )
        return rows

    def identity(self) -> dict[str, str]:
        """Its rules and its law by content."""
        return {"calibration": first_checksum(self._tensors())[:16]}

    def __repr__(self) -> str:
        return f"Calibration(calls {', '.join(map(str, self.rules))}; model {self.model})"

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        facts = {
            "model": self.model,
            "conditional": self.conditional,
            "shape": self.shape,
            "sigma_max": self.sigma_max,
            "rest": self.normal.rest,
            "rules": list(self.rules),
            "kind": self.kind,
            "edges": self.edges,
            "facts": self.facts,
            "start": self.start,
        }
        CALIBRATION.write(path, self._tensors(), facts)

    def _tensors(self) -> Tensors:
        tensors = {
            "mean": self.normal.mean.float(),
            "modes": self.normal.modes.float(),
            "variances": self.normal.variances.float(),
        }
        if len(self.normal.labels):
            tensors |= {"labels": self.normal.labels, "means": self.normal.means.float()}
        for n, rule in self.rules.items():
            tensors |= {f"{n}.{name}": value for name, value in rule_tensors(rule).items()}
        return tensors

    @classmethod
    def load(cls, path: Path, key: str = "solver.path") -> Calibration:
        """Read one that ``save`` wrote; InputError names ``key`` for anything else."""
        return CALIBRATION.read(path, key, cls.parse)

    @classmethod
    def parse(cls, facts: Facts, tensors: Tensors) -> Calibration:
        """The calibration in a file's content; ValueError if there is none in it."""
        shape = tuple(int(side) for side in facts["shape"])
        rules = {int(n): parse_rule(int(n), tensors, f"{n}.") for n in facts["rules"]}
        calibration = cls(
            str(facts["model"]),
            bool(facts["conditional"]),
            shape,
            float(facts["sigma_max"]),
            _parse_normal(facts, tensors, math.prod(shape)),
            rules,
            str(facts["kind"]),
            tuple(facts["edges"]),
            of_today(dict(facts["facts"]), str(facts["model"]).partition(" ")[0]),
            float(facts.get("start", 1.0)),  # files of before there was one
        )
        if not 0 < calibration.start < math.inf:
            raise ValueError(f"start is {calibration.start}")
        bands = 0 if calibration.bands is None else calibration.bands.count
        for n, rule in rules.items():
            if rule.last is not None and rule.last.shape != (bands, n):
                raise ValueError(f"rule {n} has {len(rule.last)} bands")
            if not float(rule.levels[0]) <= calibration.sigma_max * (1 + 1e-6) < math.inf:
                raise ValueError(f"rule {n} starts above sigma_max={calibration.sigma_max}")
        if not rules:
            raise ValueError("no rules")
        return calibration


def rule_tensors(rule: Rule) -> Tensors:
    """The coefficients of a rule in float64, by the names of its fields."""
    values = {name: getattr(rule, name) for name in FIELDS}
    return {name: value.double() for name, value in values.items() if value is not None}


def parse_rule(n: int, tensors: Tensors, prefix: str = "") -> Rule:
    """The rule of ``n`` evaluations in a file's tensors; ValueError if there is none in them."""
    values = {name: tensors[prefix + name] for name in FIELDS if prefix + name in tensors}
    rule = Rule(**values)
    square = rule.weights if rule.normal is None else rule.normal
    shapes = rule.levels.shape, rule.asked.shape, rule.weights.shape, square.shape
    if shapes != ((n + 1,), (n,), (n, n), (n, n)):
        raise ValueError(f"rule {n} is not of {n} evaluations")
    if not all(bool(value.isfinite().all()) for value in values.values()):
        raise ValueError(f"rule {n} is not finite")
    ends = rule.levels.diff().max(), -rule.levels.min(), -rule.asked.min()
    if not all(float(end) < 0 for end in ends):
        raise ValueError(f"rule {n} has noise levels that do not fall to one above 0")
    return rule


def _parse_normal(facts: Facts, tensors: Tensors, d: int) -> Normal:
    law = {k: tensors[k].double() for k in ("mean", "modes", "variances", "means") if k in tensors}
    count = len(law["variances"])
    if law["mean"].shape != (d,) or law["modes"].shape != (count, d):
        raise ValueError("mean and modes are not of the image's shape")
    if "means" in law and law["means"].shape != (len(tensors["labels"]), d):
        raise ValueError("labels and means are not of the image's shape")
    rest = float(facts["rest"])
    if not (math.isfinite(rest) and all(bool(value.isfinite().all()) for value in law.values())):
        raise ValueError("its normal law is not finite")
    if rest < 0 or bool((law["variances"] < 0).any()):
        raise ValueError("its normal law has a negative variance")
    return Normal(**law, rest=rest, **{k: v for k, v in tensors.items() if k == "labels"})


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
