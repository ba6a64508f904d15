"""Solvers in their SDE's own time, each again as a scalar recursion, written from its paper.

Nothing of the solvers' own code is used: x_t at the times of a grid, with the published alpha,
sigma, f and g^2 of the process.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from tests.solvers.scalars import Denoise, Draw, Oracle, Process


def _score(p: Process, x: Any, t: float, denoise: Denoise) -> Any:
    a = p.alpha(t)
    return (a * denoise(x / a, p.sigma(t) / a) - x) / p.sigma(t) ** 2


def _drift(p: Process, x: Any, t: float, denoise: Denoise, eta: float) -> Any:
    return p.f(t) * x - 0.5 * (1 + eta**2) * p.g2(t) * _score(p, x, t, denoise)


def euler_maruyama(
    p: Process, times: list[float], x: Any, denoise: Denoise, draw: Draw, eta: float
) -> Any:
    for i, (t, s) in enumerate(pairwise(times)):
        x = x + (s - t) * _drift(p, x, t, denoise, eta)
        if eta > 0 and i < len(times) - 2:
            x = x + eta * math.sqrt(p.g2(t) * (t - s)) * draw()
    return x


def torchsde(
    p: Process, times: list[float], x: Any, denoise: Denoise, draw: Draw, method: str, eta: float
) -> Any:
    """srk: SRA1 (Roessler 2010) downwards in time; W and its integral from two half steps."""
    if method != "srk":
        return euler_maruyama(p, times, x, denoise, draw, eta)
    for i, (t, s) in enumerate(pairwise(times)):
        h, m = t - s, t - 0.75 * (t - s)
        if eta == 0 or i == len(times) - 2:  # the last step follows the flow
            k1 = -h * _drift(p, x, t, denoise, 0.0)
            x = x + k1 / 3 - 2 / 3 * h * _drift(p, x + 0.75 * k1, m, denoise, 0.0)
            continue
        a, b = draw(), draw()
        w = (a + b) / math.sqrt(2)
        area = 0.5 * w + (a - b) / math.sqrt(24)  # int W over the step, per h^(3/2)
        g_t, g_s = (eta * math.sqrt(p.g2(u) * h) for u in (t, s))
        k1 = -h * _drift(p, x, t, denoise, eta)
        k2 = -h * _drift(p, x + 0.75 * k1 + 1.5 * g_s * area, m, denoise, eta)
        x = x + k1 / 3 + 2 / 3 * k2 + g_s * (w - area) + g_t * area
    return x


def _reverse_step(p: Process, t: float, s: float, x: Any, denoise: Denoise, z: Any) -> Any:
    a = p.alpha(t) / p.alpha(s)
    b2 = p.sigma(t) ** 2 - (a * p.sigma(s)) ** 2
    return (2 - a) * x + b2 * _score(p, x, t, denoise) + math.sqrt(b2) * z


def reverse_diffusion(p: Process, times: list[float], x: Any, denoise: Denoise, draw: Draw) -> Any:
    for i, (t, s) in enumerate(pairwise(times)):
        x = _reverse_step(p, t, s, x, denoise, draw() if i < len(times) - 2 else 0 * x)
    return x


def _langevin_move(
    p: Process, t: float, s: float, x: float, denoise: Denoise, draw: Draw, snr: float, steps: int
) -> float:
    a = (p.alpha(t) / p.alpha(s)) ** 2
    for _ in range(steps):
        score, z = _score(p, x, t, denoise), draw()
        e = 2 * a * (snr * p.sigma(t)) ** 2
        x = x + e * score + math.sqrt(2 * e) * z
    return x


def langevin(
    p: Process, times: list[float], x: float, denoise: Denoise, draw: Draw,
    snr: float, n_steps: int, norm: str,
) -> float:  # fmt: skip
    """One coordinate a sample, so that norms are the expected ones."""
    assert norm == "sample"
    for t, s in pairwise(times):
        x = _langevin_move(p, t, s, x, denoise, draw, snr, n_steps)
        x = p.alpha(s) / p.alpha(t) * x
    return x


def predictor_corrector(
    p: Process, times: list[float], x: float, denoise: Denoise, draw: Draw,
    predictor: dict[str, Any], corrector: dict[str, Any],
) -> float:  # fmt: skip
    """Langevin, then reverse diffusion or DDIM."""
    follows_flow = predictor["_target_"].endswith(".DDIM")
    for i, (t, s) in enumerate(pairwise(times)):
        x = _langevin_move(p, t, s, x, denoise, draw, corrector["snr"], corrector["n_steps"])
        if follows_flow:
            y, r_t, r_s = x / p.alpha(t), p.sigma(t) / p.alpha(t), p.sigma(s) / p.alpha(s)
            x = p.alpha(s) * (y + (r_s - r_t) * (y - denoise(y, r_t)) / r_t)
        else:
            x = _reverse_step(p, t, s, x, denoise, draw() if i < len(times) - 2 else 0.0)
    return x


# By the name of the yaml.
TIMES: dict[str, Oracle] = {
    "euler_maruyama": euler_maruyama, "langevin": langevin,
    "predictor_corrector": predictor_corrector, "reverse_diffusion": reverse_diffusion,
    "torchsde": torchsde,
}  # fmt: skip
