"""Multistep solvers, each again as a scalar recursion, written from its paper.

Nothing of the solvers' own code is used. They are written for y = x / alpha and r = sigma / alpha,
with D(y, r), on the levels of a grid.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from tests.solvers.scalars import Denoise, Draw, Scalar, integrate, lagrange


def _lam(r: float) -> float:
    return -math.log(r)


def dpmpp_2m(r: list[float], y: Any, denoise: Denoise, draw: Draw, lower_order_final: bool) -> Any:
    old: Any = None
    for i, (t, s) in enumerate(pairwise(r)):
        new = denoise(y, t)
        used = new
        if i > 0 and not (lower_order_final and i == len(r) - 2):
            ratio = math.log(r[i - 1] / t) / math.log(t / s)
            used = (1 + 1 / (2 * ratio)) * new - 1 / (2 * ratio) * old
        y = s / t * y + (1 - s / t) * used
        old = new
    return y


def dpmpp_2m_sde(r: list[float], y: Any, denoise: Denoise, draw: Draw, eta: float) -> Any:
    old: Any = None
    for i, (t, s) in enumerate(pairwise(r)):
        new = denoise(y, t)
        used = new
        if i > 0:
            ratio = math.log(r[i - 1] / t) / math.log(t / s)
            used = (1 + 1 / (2 * ratio)) * new - 1 / (2 * ratio) * old
        share = eta**2 if i < len(r) - 2 else 0.0  # the last step follows the flow
        y = (s / t) ** (1 + share) * y + (1 - (s / t) ** (1 + share)) * used
        if share > 0:
            y = y + s * math.sqrt(1 - (s / t) ** (2 * share)) * draw()
        old = new
    return y


def dpmpp_3m(
    r: list[float], y: Any, denoise: Denoise, draw: Draw, published: bool, lower_order_final: bool
) -> Any:
    """As derived: the parabola in lam through three images, integrated exactly."""
    past: list[tuple[float, Any]] = []
    for i, (t, s) in enumerate(pairwise(r)):
        past = [(_lam(t), denoise(y, t)), *past][:3]
        used = past[: len(r) - 1 - i] if lower_order_final else past
        if len(used) < 3:
            nodes = [_lam(t), *(lam for lam, _ in used[1:])]
            change = (1 - s / t) * used[0][1]
            if len(used) == 2:
                h = _lam(s) - nodes[0]
                change = change + (1 - s / t) * h / 2 * (
                    (used[0][1] - used[1][1]) / (nodes[0] - nodes[1])
                )
        else:
            (l0, d0), (l1, d1), (l2, d2) = used
            h = _lam(s) - l0
            first, earlier = (d0 - d1) / (l0 - l1), (d1 - d2) / (l1 - l2)
            half_second = (first - earlier) / (l0 - l2)  # Newton's divided difference
            at_t = first + (l0 - l1) * half_second  # the parabola's derivative at lam_t
            weights = [
                integrate(lambda u, k=k, h=h: u**k * math.exp(u - h), 0.0, h) for k in range(3)
            ]
            size = 0.5 if published else 1.0
            change = weights[0] * d0 + weights[1] * at_t + size * weights[2] * half_second
        y = s / t * y + change
    return y


def dpmpp_3m_sde(r: list[float], y: Any, denoise: Denoise, draw: Draw, eta: float) -> Any:
    past: list[tuple[float, Any]] = []
    for i, (t, s) in enumerate(pairwise(r)):
        last = i == len(r) - 2
        share = 0.0 if last else eta  # the last step follows the flow
        h = math.log(t / s)
        k = (1 + share) * h
        past = [(_lam(t), denoise(y, t)), *past][:3]
        one = 1 - math.exp(-k)
        two = 1 - one / k
        y = math.exp(-k) * y + one * past[0][1]
        if len(past) > 1:
            slopes = [(a - b) / (u - v) for (u, a), (v, b) in pairwise(past)]
            slope = slopes[0]
            if len(past) == 3:
                half_curve = (slopes[0] - slopes[1]) / (past[0][0] - past[2][0])
                slope = slope + (past[0][0] - past[1][0]) * half_curve
                y = y + (0.5 - two / k) * h * h * half_curve
            y = y + two * h * slope
        if eta > 0 and not last:
            y = y + s * math.sqrt(1 - math.exp(-2 * eta * h)) * draw()
    return y


def unipc(
    r: list[float], y: Any, denoise: Denoise, draw: Draw, order: int, lower_order_final: bool
) -> Any:
    """The polynomial in lam through the images, integrated exactly; 1/2 at two images."""

    def move(y: Any, t: float, s: float, past: list[tuple[float, Any]]) -> Any:
        h = _lam(s) - _lam(t)
        if len(past) == 1:
            return s / t * y + (1 - s / t) * past[0][1]
        if len(past) == 2:
            (l0, d0), (l1, d1) = past
            return s / t * y + (1 - s / t) * (d0 + 0.5 * h / (l1 - l0) * (d1 - d0))
        nodes = [lam - _lam(t) for lam, _ in past]
        total: Any = s / t * y
        for j, (_, image) in enumerate(past):
            weight = integrate(lambda u, j=j: math.exp(u - h) * lagrange(nodes, j, u), 0.0, h)
            total = total + weight * image
        return total

    past: list[tuple[float, Any]] = []
    before: tuple[Any, float] | None = None
    for i, (t, s) in enumerate(pairwise(r)):
        image = denoise(y, t)
        if before is not None:
            y = move(*before, t, [*past, (_lam(t), image)])
        past = [(_lam(t), image), *past][:order]
        if lower_order_final:
            past = past[: len(r) - 1 - i]
        before = (y, t)
        y = move(y, t, s, past)
    return y


def ipndm(r: list[float], y: Any, denoise: Denoise, draw: Draw, order: int) -> Any:
    table = {
        1: [1.0],
        2: [1.5, -0.5],
        3: [23 / 12, -4 / 3, 5 / 12],
        4: [55 / 24, -59 / 24, 37 / 24, -3 / 8],
    }
    past: list[Any] = []
    for t, s in pairwise(r):
        past = [(y - denoise(y, t)) / t, *past][:order]
        for c, noise in zip(table[len(past)], past, strict=True):
            y = y + (s - t) * c * noise
    return y


def lms(r: list[float], y: Any, denoise: Denoise, draw: Draw, order: int) -> Any:
    past: list[tuple[float, Any]] = []
    for t, s in pairwise(r):
        past = [(t, (y - denoise(y, t)) / t), *past][:order]
        nodes = [level for level, _ in past]
        for j, (_, n) in enumerate(past):
            y = y + integrate(lambda u, j=j, nodes=nodes: lagrange(nodes, j, u), t, s) * n
    return y


def deis(
    r: list[float], y: Any, denoise: Denoise, draw: Draw,
    order: int, beta_min: float, beta_max: float,
) -> Any:  # fmt: skip
    def tau(r: float) -> float:
        """Time of the VP SDE at level r: beta_min tau + (beta_max - beta_min) tau^2 / 2 = B."""
        b = 0.5 * (beta_max - beta_min)
        return (math.sqrt(beta_min**2 + 4 * b * math.log1p(r * r)) - beta_min) / (2 * b)

    past: list[tuple[float, Any]] = []
    for t, s in pairwise(r):
        past = [(tau(t), (y - denoise(y, t)) / t), *past][: order + 1]
        nodes = [node for node, _ in past]
        for j, (_, noise) in enumerate(past):

            def basis(u: float, nodes: list[float] = nodes, j: int = j) -> float:
                return lagrange(nodes, j, tau(math.exp(u))) * math.exp(u)

            half = 0.5 * (math.log(t) + math.log(s))
            weight = integrate(basis, math.log(t), half) + integrate(basis, half, math.log(s))
            y = y + weight * noise
    return y


def er_sde(r: list[float], y: Any, denoise: Denoise, draw: Draw, order: int, scale: str) -> Any:
    scales: dict[str, Scalar] = {
        "ode": lambda r: r, "sde": lambda r: r**2, "sde_5": lambda r: r * (math.exp(r**0.3) + 10),
    }  # fmt: skip
    d: list[Any] = []
    slopes: list[Any] = []
    for i, (t, s) in enumerate(pairwise(r)):
        last = i == len(r) - 2
        phi = scales["ode"] if last and order > 1 else scales[scale]
        p = phi(s) / phi(t)
        d.append(denoise(y, t))
        y = p * y + (1 - p) * d[i]
        for power in (0, 1):

            def excess(
                u: float, s: float = s, t: float = t, phi: Scalar = phi, q: int = power
            ) -> float:
                v = math.exp(u)
                return (phi(s) / phi(v) - 1) * (v - t) ** q * v

            if i > power and order > power + 1:
                c = integrate(excess, math.log(s), math.log(t))
                if power == 0:
                    slopes.append((d[i] - d[i - 1]) / (t - r[i - 1]))
                    y = y + c * slopes[-1]
                else:
                    y = y + c * (2 * (slopes[-1] - slopes[-2]) / (t - r[i - 2]))
        if scale != "ode" and not last:
            y = y + math.sqrt(s**2 - (p * t) ** 2) * draw()
    return y


def sa_solver(
    r: list[float], y: Any, denoise: Denoise, draw: Draw, predictor: int, corrector: int,
    tau: float, tau_min: float, tau_max: float, published: bool, lower_order_final: bool,
) -> Any:  # fmt: skip
    """Adams predictor and corrector on the same draw; nodes in lam, newest first."""
    past: list[tuple[float, Any]] = []
    before: tuple[Any, float, float, Any] | None = None

    def end(move: tuple[Any, float, float, Any], s: float, used: list[tuple[float, Any]]) -> Any:
        y, t, on, z = move
        k, h, nodes = 1 + on**2, _lam(s) - _lam(t), [lam - _lam(t) for lam, _ in used]
        weights = [
            integrate(lambda u, j=j: k * math.exp(k * (u - h)) * lagrange(nodes, j, u), 0.0, h)
            for j in range(len(used))
        ]
        if len(used) == 2 and published:
            # The published integral of the slope, k h^2 / 2.
            newest = (k * h * h / 2 - nodes[1] * (1 - math.exp(-k * h))) / (nodes[0] - nodes[1])
            weights = [newest, 1 - math.exp(-k * h) - newest]
        total: Any = (s / t) ** (1 + on**2) * y
        for weight, (_, image) in zip(weights, used, strict=True):
            total = total + weight * image
        return total if z is None else total + s * math.sqrt(1 - (s / t) ** (2 * on**2)) * z

    depth = max(predictor, corrector)
    for i, (t, s) in enumerate(pairwise(r)):
        left = len(r) - 1 - i
        final = left if lower_order_final else depth
        past = [(_lam(t), denoise(y, t)), *past][:depth]
        if before is not None and corrector > 0:
            y = end(before, t, past[: min(corrector, final + 2)])
        first_order = predictor == 1 and corrector == 0
        inside = tau_min <= t <= tau_max and (left > 1 or first_order)
        on = tau if inside else 0.0
        before = (y, t, on, draw() if on > 0 and left > 1 else None)
        y = end(before, s, past[: min(predictor, final)])
    return y
