"""Solvers that see noise levels only, each again as a scalar recursion, written from its paper.

Nothing of the solvers' own code is used. They are written for y = x / alpha and r = sigma / alpha,
with D(y, r), on the levels of a grid.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from tests.solvers import multistep_oracles as multistep
from tests.solvers import rules
from tests.solvers.scalars import Denoise, Draw, Oracle


def ddim(r: list[float], y: Any, denoise: Denoise, draw: Draw) -> Any:
    for t, s in pairwise(r):
        y = y + (s - t) * ((y - denoise(y, t)) / t)
    return y


def ancestral(r: list[float], y: Any, denoise: Denoise, draw: Draw, eta: float) -> Any:
    for i, (t, s) in enumerate(pairwise(r)):
        up = eta * s / t * math.sqrt(t**2 - s**2)
        d = denoise(y, t)
        y = d + (y - d) * (math.sqrt(s**2 - up**2) / t)
        if eta > 0 and i < len(r) - 2:
            y = y + up * draw()
    return y


def heun(
    r: list[float], y: Any, denoise: Denoise, draw: Draw,
    s_churn: float, s_tmin: float, s_tmax: float, s_noise: float,
) -> Any:  # fmt: skip
    n = len(r) - 1
    for i in range(n):
        t = r[i]
        if s_churn > 0 and s_tmin <= t <= s_tmax and i < n - 1:
            hat = min(t + min(s_churn / n, math.sqrt(2) - 1) * t, r[0])
            y = y + math.sqrt(hat**2 - t**2) * s_noise * draw()
            t = hat
        d = (y - denoise(y, t)) / t
        euler = y + (r[i + 1] - t) * d
        y = y + (r[i + 1] - t) * (0.5 * d + 0.5 * ((euler - denoise(euler, r[i + 1])) / r[i + 1]))
    return y


def dpm2(r: list[float], y: Any, denoise: Denoise, draw: Draw) -> Any:
    """Half way in lam is the geometric mean; r expm1(h) = r_t - r_s."""
    for t, s in pairwise(r):
        m = math.sqrt(t * s)
        u = y - (t - m) * ((y - denoise(y, t)) / t)
        y = y - (t - s) * ((u - denoise(u, m)) / m)
    return y


def dpmpp_2s(r: list[float], y: Any, denoise: Denoise, draw: Draw) -> Any:
    for t, s in pairwise(r):
        m = math.sqrt(t * s)
        u = m / t * y + (1 - m / t) * denoise(y, t)
        y = s / t * y + (1 - s / t) * denoise(u, m)
    return y


def seeds(r: list[float], y: Any, denoise: Denoise, draw: Draw, order: int, prediction: str) -> Any:
    data = prediction == "data"

    def predict(y: Any, level: float) -> Any:
        return denoise(y, level) if data else (y - denoise(y, level)) / level

    def parts(a: float, b: float, k: float) -> tuple[float, float, float, float]:
        """Shrinking, weight of f, weight of its change, and noise over the interval a -> b."""
        d = math.log(a / b)
        if data:
            e = math.exp(-k * d)
            return e, 1 - e, 1 - (1 - e) / (k * d), b * math.sqrt(1 - (b / a) ** 2)
        rise = a / b - 1
        return 1.0, -k * b * rise, -k * b * (rise / d - 1), b * math.sqrt((a / b) ** 2 - 1)

    for i, (t, s) in enumerate(pairwise(r)):
        silent = i == len(r) - 2
        k = 1.0 if silent and order > 1 else 2.0  # the last step follows the flow

        def w(before: Any, a: float, b: float, k: float = k, silent: bool = silent) -> Any:
            shrink, _, _, sd = parts(a, b, k)
            return before if silent else shrink * before + sd * draw()

        f_t, start = predict(y, t), 0.0 * y
        shrink, one, two, _ = parts(t, s, k)
        if order == 1:
            y = shrink * y + one * f_t + w(start, t, s)
        elif order == 2:
            m = math.sqrt(t * s)
            to_m = parts(t, m, k)
            w_m = w(start, t, m)
            f_u = predict(to_m[0] * y + to_m[1] * f_t + w_m, m)
            y = shrink * y + one * f_u + w(w_m, m, s)
        else:
            m, n = (t * t * s) ** (1 / 3), (t * s * s) ** (1 / 3)
            to_m, to_n = parts(t, m, k), parts(t, n, k)
            w_m = w(start, t, m)
            f_u = predict(to_m[0] * y + to_m[1] * f_t + w_m, m)
            w_n = w(w_m, m, n)
            f_v = predict(to_n[0] * y + to_n[1] * f_t + 2 * to_n[2] * (f_u - f_t) + w_n, n)
            y = shrink * y + one * f_t + 1.5 * two * (f_v - f_t) + w(w_n, n, s)
    return y


def renoise(
    r: list[float], y: Any, denoise: Denoise, draw: Draw, inner: dict[str, Any], eta: float
) -> Any:
    """Each step but the last goes below its end, at most to the end of all, and up by noise."""
    options = dict(inner)
    step = LEVELS[options.pop("_target_").split(".")[-2]]
    for i, (t, s) in enumerate(pairwise(r)):
        up = 0.0 if i == len(r) - 2 else eta * s / t * math.sqrt(t**2 - s**2)
        down = max(math.sqrt(s**2 - up**2), r[-1])
        y = step([t, down if up > 0 else s], y, denoise, draw, **options)
        if up > 0:
            y = y + math.sqrt(s**2 - down**2) * draw()
    return y


def restart(
    r: list[float], y: Any, denoise: Denoise, draw: Draw, inner: dict[str, Any],
    low: list[float], high: list[float], steps: list[int], repeats: list[int],
    s_noise: float, rho: float,
) -> Any:  # fmt: skip
    """One interval; the inner solver begins anew after each jump."""
    options = dict(inner)
    name = options.pop("_target_").split(".")[-2]
    if repeats == [0]:
        return LEVELS[name](r, y, denoise, draw, **options)
    index = next(i for i, level in enumerate(r) if level <= low[0] * (1 + 1e-9))
    a, b = high[0] ** (1 / rho), r[index] ** (1 / rho)
    piece = [(a + k / steps[0] * (b - a)) ** rho for k in range(steps[0] + 1)]
    y = LEVELS[name](r[: index + 1], y, denoise, draw, **options)
    for _ in range(repeats[0]):
        y = y + s_noise * math.sqrt(high[0] ** 2 - r[index] ** 2) * draw()
        y = LEVELS[name](piece, y, denoise, draw, **options)
    return LEVELS[name](r[index:], y, denoise, draw, **options)


def calibrated(
    r: list[float], y: Any, denoise: Denoise, draw: Draw, path: str, allow_other_model: bool
) -> Any:
    """The rule of ``rules.py``, after the flow of a Gaussian of one variance."""
    levels, asked, weights = rules.numbers(len(r) - 1)
    y = y * math.sqrt((rules.REST + levels[0] ** 2) / (rules.REST + rules.SIGMA_MAX**2))
    residuals: list[Any] = []
    for level, row in zip(asked, weights, strict=True):
        residuals.append((y - denoise(y, level)) / level)
        for weight, e in zip(row, residuals, strict=False):
            y = y + weight * e
    return y


# By the name of the yaml.
LEVELS: dict[str, Oracle] = {
    "ancestral": ancestral, "calibrated": calibrated, "ddim": ddim, "dpm2": dpm2,
    "dpmpp_2s": dpmpp_2s, "heun": heun, "renoise": renoise, "restart": restart, "seeds": seeds,
    "deis": multistep.deis, "dpmpp_2m": multistep.dpmpp_2m,
    "dpmpp_2m_sde": multistep.dpmpp_2m_sde, "dpmpp_3m": multistep.dpmpp_3m,
    "dpmpp_3m_sde": multistep.dpmpp_3m_sde, "er_sde": multistep.er_sde, "ipndm": multistep.ipndm,
    "lms": multistep.lms, "sa_solver": multistep.sa_solver, "unipc": multistep.unipc,
}  # fmt: skip
