"""Which method draws from the posterior? Against exact ones; MNIST in ``MNIST_ROOT``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import render
import torch
from page import once
from posteriors_heavy import Heavy
from posteriors_page import coverage, one, overall
from posteriors_priors import (
    DOUBLE,
    KINDS,
    Dense,
    DigitsGaussian,
    DigitsMixture,
    Plane,
    PlaneGaussian,
    Prior,
)
from torch import Tensor

from sde_diffusion import (
    DAPS,
    DDNM,
    DDRM,
    DPS,
    EDM,
    MMPS,
    TMPD,
    Ancestral,
    DiffPIR,
    Execution,
    Heun,
    Karras,
    Particles,
    PiGDM,
    RePaint,
    Request,
    Sampler,
    with_measurement,
)  # fmt: skip
from sde_diffusion.guidance import Guidance, guided
from sde_diffusion.operators import Operator
from sde_diffusion.solvers.base import Solver

REFERENCE = 380  # exact draws a measurement
DIRECTIONS = 16
Method = Callable[[Operator, int], tuple[Solver, Guidance | None, int]]
METHODS: dict[str, Method] = {
    "DPS": lambda a, n: (Ancestral(), DPS(a, n / 1000), n),
    "PiGDM": lambda a, n: (Ancestral(), PiGDM(a), n),
    "TMPD": lambda a, n: (Ancestral(), TMPD(a), n),
    "MMPS": lambda a, n: (Ancestral(), MMPS(a), n),
    "MMPS, Heun's method": lambda a, n: (Heun(), MMPS(a), n),
    "DDRM": lambda a, n: (DDRM(a), None, n),
    "DDNM": lambda a, n: (DDNM(a), None, n),
    "DiffPIR": lambda a, n: (DiffPIR(a), None, n),
    "RePaint": lambda a, n: (RePaint(a), None, n),
    "DAPS": lambda a, n: (DAPS(a), None, n),
    "16 particles": lambda a, n: (Particles(a, 16), None, 16 * (n // 2)),
}
FINE: dict[str, tuple[Method, tuple[int, ...]]] = {
    "DPS": (METHODS["DPS"], (20, 100, 500)),
    "TMPD": (METHODS["TMPD"], (20, 100, 500)),
    "MMPS": (METHODS["MMPS"], (20, 100, 500)),
    "DDRM": (METHODS["DDRM"], (20, 100, 500)),
    "DAPS": (METHODS["DAPS"], (20, 100, 500)),
    "16 particles": (METHODS["16 particles"], (20, 100)),
    "64 particles": (lambda a, n: (Particles(a, 64), None, 64 * (n // 2)), (20, 100)),
}


def drawn(
    prior: Prior, operator: Operator, ys: Tensor, method: Method, nfe: int
) -> tuple[Any, ...]:
    """Draws [Y, n, d], evaluations and backward passes a sample."""
    solver, guidance, budget = method(operator, nfe)
    asked = guided(prior.denoiser, [] if guidance is None else [guidance])
    cond = with_measurement(ys.repeat_interleave(prior.draws, 0))
    sampler = Sampler.build(EDM(), asked, solver, Karras())
    found = sampler.sample(Request(range(len(cond)), budget, cond), Execution(len(cond), DOUBLE))
    x = found.x.reshape(len(ys), prior.draws, -1)
    return x, found.nfe, found.backward_passes


def judged(x: Tensor, exact: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """Errors of the draws x [Y, n, d], one number a measurement.

    mean: |m - m'|^2 / tr C, the share of sampling removed. spread: tr C' / tr C. cov: of C in its
    eight leading axes, Frobenius. w2: sliced, over the deviation. c50, c90: shares of directions
    in which the truth lies in the middle 50 and 90 % of the draws, by its rank.
    """
    n, d = x.shape[1:]
    generator = torch.Generator().manual_seed(1)
    lines = torch.linalg.qr(torch.randn(d, min(d, DIRECTIONS), generator=generator, dtype=DOUBLE)).Q
    lines = torch.eye(d, dtype=DOUBLE) if d <= DIRECTIONS else lines
    out: dict[str, list[float]] = {key: [] for key in ("mean", "spread", "cov", "w2", "c50", "c90")}
    for mine, right, at in zip(x, exact, truth, strict=True):
        c, mine_c = torch.cov(right.T), torch.cov(mine.T)
        total, mine_total = float(c.trace()), float(mine_c.trace())
        square = float((mine.mean(0) - right.mean(0)).square().sum())
        out["mean"].append((square - mine_total / n - total / len(right)) / total)
        out["spread"].append(mine_total / total)
        axes = torch.linalg.eigh(c).eigenvectors[:, -min(8, d) :]
        low, mine_low = axes.T @ c @ axes, axes.T @ mine_c @ axes
        out["cov"].append(float((mine_low - low).norm() / low.norm()))
        u, v = (mine @ lines).sort(0).values, (right @ lines).sort(0).values
        share = (torch.arange(n, dtype=DOUBLE) + 0.5) / n
        v = v[(share * len(v)).long()]
        out["w2"].append(float((u - v).square().mean().sqrt()) / (total / d) ** 0.5)
        rank = ((mine @ lines < at @ lines).double().sum(0) + 0.5) / (n + 1)
        for key, level in (("c50", 0.5), ("c90", 0.9)):
            out[key].append(float(((rank - 0.5).abs() < level / 2).double().mean()))
    return out


def cell(prior: Prior, kind: str, noise: float, methods: Mapping[str, Any]) -> dict[str, Any]:
    """Every method on one operator and noise level; ``exact`` is the floor of sampling."""
    generator = torch.Generator().manual_seed(0)
    a = prior.matrix(kind)
    truth = prior.sample(prior.measured, generator)
    clean = truth @ a.T
    ys = clean + noise * torch.randn(clean.shape, generator=generator, dtype=DOUBLE)
    exact = prior.posterior(a, noise, ys, REFERENCE, generator)
    again = prior.posterior(a, noise, ys, prior.draws, generator)
    found = {"exact draws": {"nfe": 0, "back": 0, "seconds": 0, **judged(again, exact, truth)}}
    for name, (method, nfe) in methods.items():
        begin = time.perf_counter()
        x, calls, back = drawn(prior, Dense(a, noise), ys, method, nfe)
        seconds = time.perf_counter() - begin
        found[name] = {"nfe": calls, "back": back, "seconds": seconds, **judged(x, exact, truth)}
    return found


def main() -> None:
    """Write posteriors.md."""
    folder = Path(render.HERE).parent / "outputs" / "benchmark-posteriors"
    priors: list[Prior] = [
        PlaneGaussian(), DigitsGaussian(), Plane(), DigitsMixture(), Heavy(2), Heavy(64)
    ]  # fmt: skip
    cells, fine = {}, {}
    for prior in priors:
        for noise in prior.noises:
            for kind in KINDS:
                name = f"{prior.name}: {kind}, noise {noise:g}"
                every = {key: (method, 100) for key, method in METHODS.items()}
                cells[name] = once(
                    folder, name.replace(" ", "_"),
                    lambda p=prior, k=kind, s=noise, e=every: cell(p, k, s, e),
                )  # fmt: skip
        steps = {f"{key} {n}": (m, n) for key, (m, counts) in FINE.items() for n in counts}
        if prior.name.endswith("d = 2"):
            fine[prior.name] = once(
                folder, f"fine_{prior.name}".replace(" ", "_"),
                lambda p=prior, e=steps: cell(p, "mask", p.noises[0], e),
            )  # fmt: skip
    gaussian2, gaussian784, plane, digits, heavy2, heavy64 = (prior.name for prior in priors)
    values = {
        "cells": len(cells), "by_cell": coverage(cells), "plane": overall(cells, plane),
        "gaussian2": overall(cells, gaussian2), "gaussian784": overall(cells, gaussian784),
        "digits": overall(cells, digits), "heavy2": overall(cells, heavy2),
        "heavy64": overall(cells, heavy64), "fine_plane": one(fine[plane]),
        "fine_gaussian2": one(fine[gaussian2]), "fine_heavy2": one(fine[heavy2]),
    }  # fmt: skip
    render.page("posteriors", values)


if __name__ == "__main__":
    main()
