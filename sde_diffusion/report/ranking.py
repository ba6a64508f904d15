"""Which solver is best at a number of evaluations, and which others may be.

At each NFE every solver is compared with the one of smallest distance by the paired difference of
the bias-removed values. With K solvers there are K - 1 comparisons, so each interval is at the
level 1 - 0.05 / (K - 1) (Bonferroni). That the best was picked by looking is covered: the truly
best solver is left out only if some other beats it by chance, which are K - 1 one-sided events of
fixed pairs (multiple comparisons with the best, Hsu 1984, Annals of Statistics 12).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

from torch import Tensor

from sde_diffusion.metrics.frechet import Reference
from sde_diffusion.metrics.inference import paired_difference, samples_to_settle

ERROR = 0.05
Row = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """One solver at one NFE.

    Attributes:
        solver, place: its name; 1 for the smallest distance, None where differences are withheld:
            what may be chance is not ranked.
        fd, fd_debiased: its distances. difference, low, high: bias-removed distance less that of
            the best, with its simultaneous 95 % interval; None for the best and where withheld.
        alike: whether that interval covers 0: not distinguishable at this N.
        settle: samples at which the interval would leave 0 if the difference is what it seems;
            None if the reference itself is too small for that.
    """

    solver: str
    place: int | None
    fd: float
    fd_debiased: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    alike: bool | None = None
    settle: int | None = None


@dataclass(frozen=True)
class Ranking:
    """The standings at one NFE, best first; ``note`` says how sure they are."""

    nfe: float
    samples: int
    standings: Sequence[Standing]
    note: str

    @property
    def best(self) -> Standing:
        """The solver of smallest distance."""
        return self.standings[0]

    @property
    def alike(self) -> list[str]:
        """The solvers that may as well be the best."""
        return [s.solver for s in self.standings if s.alike]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def critical(rivals: int) -> float:
    """Half width, in standard errors, of intervals that hold together for so many rivals."""
    return NormalDist().inv_cdf(1 - ERROR / (2 * max(1, rivals)))


def by_distance(rows: Sequence[Row]) -> list[Row]:
    """Smallest first: by the bias-removed value where all have one, else by the plug-in."""
    debiased = all(row["fd_debiased"] is not None for row in rows)
    return sorted(rows, key=lambda row: row["fd_debiased" if debiased else "fd"])


def rank(
    rows: Sequence[Row],
    features: Mapping[str, Tensor],
    reference: Reference,
    reference_features: Tensor | None = None,
    strata: Tensor | None = None,
) -> Ranking:
    """The ranking of ``rows`` of one NFE and N, a row a solver.

    ``features[solver]`` [N, d], sample k of all from the same initial noise; ``strata`` [N] the
    labels if they were set.
    """
    best, *others = by_distance(rows)
    z = critical(len(others))
    standings = [Standing(best["solver"], 1, best["fd"], best["fd_debiased"])]
    withheld = ""
    for place, row in enumerate(others, start=2):
        placed = Standing(row["solver"], place, row["fd"], row["fd_debiased"])
        a, b = features[row["solver"]], features[best["solver"]]
        gap = paired_difference(a, b, reference, reference_features, strata)
        if gap.value is None or gap.standard_error is None:
            withheld = gap.note
        else:
            half = z * gap.standard_error
            alike = abs(gap.value) <= half
            settle = samples_to_settle(gap, z) if alike else None
            placed = replace(
                placed,
                difference=gap.value,
                low=gap.value - half,
                high=gap.value + half,
                alike=alike,
                settle=settle,
            )
        standings.append(placed)
    if not others:
        note = "alone at this number of evaluations"
    elif withheld:
        note = f"in order of the plug-in value and not ranked; differences withheld ({withheld})"
        standings = [replace(standing, place=None) for standing in standings]
    else:
        note = (
            f"paired differences from the best, {len(others)} at once: each interval "
            f"± {z:.2f} standard errors (Bonferroni, 95 % together)"
        )
    return Ranking(best["nfe"], best["samples"], standings, note)


def rank_unpaired(rows: Sequence[Row]) -> Ranking:
    """The ranking of ``rows`` of one NFE whose samples are of different noise.

    A difference has the variance of both values; what they share, the reference's side of it, is
    counted twice, so that its interval is rather too wide.
    """
    best, *others = by_distance(rows)
    z = critical(len(others))
    bounded = all(row["fd_low"] is not None for row in rows)
    standings = [Standing(best["solver"], 1 if bounded else None, best["fd"], best["fd_debiased"])]
    for place, row in enumerate(others, start=2):
        if not bounded:
            standings.append(Standing(row["solver"], None, row["fd"], row["fd_debiased"]))
            continue
        gap = row["fd_debiased"] - best["fd_debiased"]
        halves = [0.5 * (each["fd_high"] - each["fd_low"]) for each in (row, best)]
        half = z / critical(1) * math.hypot(*halves)
        alike = abs(gap) <= half
        settle = math.ceil(row["samples"] * (half / gap) ** 2) if alike and gap else None
        standings.append(
            Standing(
                row["solver"], place, row["fd"], row["fd_debiased"], gap, gap - half, gap + half,
                alike, settle,
            )
        )  # fmt: skip
    note = f"not paired, as no seeds are in all jobs: independent samples, {len(others)} at once"
    if not others:
        note = "alone at this number of evaluations"
    elif not bounded:
        note = "in order of the plug-in value and not ranked; no seeds are in all jobs"
    return Ranking(best["nfe"], best["samples"], standings, note)
