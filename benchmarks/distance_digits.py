"""Errors of a Fréchet distance where it is known, for ``distance.py``."""

from __future__ import annotations

import render
import torch
from distance_peers import PEERS, peer, seeded
from torch import Tensor

from sde_diffusion.metrics.frechet import Reference, frechet_distance, frechet_of_features
from sde_diffusion.metrics.stats import FeatureStats

SMALL = 256
CONDITIONS = [1e0, 1e2, 1e4, 1e6]


def normal(n: int, seed: int) -> Tensor:
    """Standard normal [n, SMALL]."""
    return torch.randn(n, SMALL, dtype=torch.float64, generator=seeded(seed))


def covariance(condition: float, seed: int) -> Tensor:
    """Eigenvalues from 1 to 1 / condition on random axes."""
    q = torch.linalg.qr(normal(SMALL, seed))[0]
    return (q * condition ** -torch.linspace(0, 1, SMALL, dtype=torch.float64)) @ q.T


def stats_of(cov: Tensor) -> FeatureStats:
    """Exact statistics, of mean 0."""
    return FeatureStats(10**6, torch.zeros(SMALL, dtype=torch.float64), cov * (10**6 - 1))


def by_singular_values(x: Tensor, b: Reference) -> float:
    """The distance of few features by singular values, which have no square root of rounding."""
    roots = torch.linalg.svdvals((x - x.mean(0)) @ b.root).sum() / (len(x) - 1) ** 0.5
    shift2 = (x.mean(0) - b.mean).square().sum()
    return float(shift2 + x.var(0).sum() + b.cov.trace() - 2 * roots)


def errors(found: dict[str, float], true: float, scale: float) -> list[str]:
    """Cells of a row."""
    return [f"{abs(value - true) / scale:.0e}" for value in found.values()]


def digits() -> render.Table:
    """Errors where the distance is known, here and by the peers."""
    rows = []
    ways = {name: peer(name)[0] for name in PEERS}
    for condition in CONDITIONS:
        cov_0, t = covariance(condition, 1), covariance(10.0, 2)
        for what, cov, cross, target in (
            ("S = T S_0 T", t @ cov_0 @ t, float((t @ cov_0).trace()), "1e-12"),
            ("S = S_0", cov_0, float(cov_0.trace()), "1e-9"),
        ):
            a, b = stats_of(cov), Reference.from_stats(stats_of(cov_0))
            scale = float(cov.trace() + cov_0.trace())
            values = {"here": frechet_distance(a, b).value, **{k: w(a, b) for k, w in ways.items()}}
            true = scale - 2 * cross
            if what == "S = S_0":
                scale = float(cov.trace())
            rows.append(
                [f"{what}, condition {condition:.0e}", target, *errors(values, true, scale)]
            )
    b = Reference.from_stats(stats_of(covariance(1e4, 1)))
    for what, n in (("", 2), ("", SMALL // 4), ("", SMALL), ("half of the features dead, ", 2000)):
        x = normal(n, 3) + 0.3
        if what:
            x[:, ::2] = 0.5
        a = FeatureStats.of(x)
        values = {"here": frechet_of_features(x, b).value, **{k: w(a, b) for k, w in ways.items()}}
        scale = float(a.cov.trace() + b.cov.trace())
        rows.append([f"{what}N = {n}", "1e-9", *errors(values, by_singular_values(x, b), scale)])
    x = normal(2000, 4) + 10
    whole = FeatureStats.of(x)
    for what, order in (("batches of 7", range(0, 2000, 7)), ("reversed", range(1993, -7, -7))):
        parts = [x[max(i, 0) : i + 7] for i in order]
        streamed = FeatureStats.empty(SMALL)
        for part in parts:
            streamed = streamed.update(part)
        apart = float((streamed.cov - whole.cov).abs().max()) / float(whole.cov.trace())
        rows.append(
            [f"covariance in {what}, mean 10", "1e-12", f"{apart:.0e}", *["-"] * len(PEERS)]
        )
    head = ["known case", "target", "here", *PEERS]
    return render.table(head, rows)
