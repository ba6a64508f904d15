"""Each solver again, as a scalar recursion in plain Python floats, written from its paper.

A recursion runs on anything that can be added and scaled: on floats it gives one sample from its
start and its draws; on ``Affine`` numbers it gives offset, gain and response to each draw, that is
the exact law on a Gaussian. Nothing of the solvers' own code is used. Those that see noise levels
only are written for y = x / alpha and r = sigma / alpha, with D(y, r); the others in their SDE's
own time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Denoise = Callable[[Any, float], Any]
Draw = Callable[[], Any]
Scalar = Callable[[float], float]
Oracle = Callable[..., Any]


class Affine:
    """offset + gain x_T + sum_k b_k z_k as the tuple (offset, gain, b_1, b_2, ...)."""

    def __init__(self, *c: float) -> None:
        self.c = c

    def __add__(self, other: Affine | float) -> Affine:
        d = other.c if isinstance(other, Affine) else (other,)
        n = max(len(self.c), len(d))
        a, b = (v + (0.0,) * (n - len(v)) for v in (self.c, d))
        return Affine(*(p + q for p, q in zip(a, b, strict=True)))

    def __mul__(self, k: float) -> Affine:
        return Affine(*(k * p for p in self.c))

    def __truediv__(self, k: float) -> Affine:
        return Affine(*(p / k for p in self.c))

    def __neg__(self) -> Affine:
        return self * -1.0

    def __sub__(self, other: Affine | float) -> Affine:
        return self + -other

    def __rsub__(self, other: float) -> Affine:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True)
class Process:
    """alpha, sigma, f and g^2 of an SDE as published, in floats."""

    alpha: Scalar
    sigma: Scalar
    f: Scalar
    g2: Scalar


def _integral(t: float) -> float:
    return 0.1 * t + 0.5 * 19.9 * t**2


def _beta(t: float) -> float:
    return 0.1 + 19.9 * t


_C0 = math.pi / 2 * 0.008 / 1.008


def _theta(t: float) -> float:
    return math.pi / 2 * (t + 0.008) / 1.008


def _sin2(t: float) -> float:
    """1 - alpha^2 of the cosine process."""
    return math.sin(_theta(t) - _C0) * math.sin(_theta(t) + _C0) / math.cos(_C0) ** 2


_TAN = math.pi / 1.008  # -2 f / tan(theta)

PROCESSES: dict[str, Process] = {
    "vp": Process(
        lambda t: math.exp(-0.5 * _integral(t)),
        lambda t: math.sqrt(-math.expm1(-_integral(t))),
        lambda t: -0.5 * _beta(t),
        _beta,
    ),
    "subvp": Process(
        lambda t: math.exp(-0.5 * _integral(t)),
        lambda t: -math.expm1(-_integral(t)),
        lambda t: -0.5 * _beta(t),
        lambda t: -_beta(t) * math.expm1(-2 * _integral(t)),
    ),
    "ve": Process(
        lambda t: 1.0,
        lambda t: 0.002 * (100 / 0.002) ** t,
        lambda t: 0.0,
        lambda t: 2 * math.log(100 / 0.002) * (0.002 * (100 / 0.002) ** t) ** 2,
    ),
    "cosine": Process(
        # cos(theta) as sin(pi/2 - theta), which keeps its digits.
        lambda t: math.sin(math.pi / 2 * (1 - t) / 1.008) / math.cos(_C0),
        lambda t: math.sqrt(_sin2(t)),
        lambda t: -0.5 * _TAN / math.tan(math.pi / 2 * (1 - t) / 1.008),
        lambda t: _TAN / math.tan(math.pi / 2 * (1 - t) / 1.008),
    ),
    "edm": Process(lambda t: 1.0, lambda t: t, lambda t: 0.0, lambda t: 2 * t),
    "flow": Process(
        lambda t: 1 - t, lambda t: t, lambda t: -1 / (1 - t), lambda t: 2 * t + 2 * t**2 / (1 - t)
    ),
}  # fmt: skip

_NODES, _WEIGHTS = (a.tolist() for a in np.polynomial.legendre.leggauss(40))


def integrate(fn: Scalar, a: float, b: float) -> float:
    """int_a^b fn, by Gauss-Legendre."""
    half = 0.5 * (b - a)
    return half * sum(w * fn(a + half * (1 + u)) for u, w in zip(_NODES, _WEIGHTS, strict=True))


def lagrange(nodes: list[float], j: int, at: float) -> float:
    """The polynomial that is one at node j and zero at the others."""
    value = 1.0
    for k, node in enumerate(nodes):
        if k != j:
            value *= (at - node) / (nodes[j] - node)
    return value


def _lam(r: float) -> float:
    return -math.log(r)


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


def lms(r: list[float], y: Any, denoise: Denoise, draw: Draw, order: int) -> Any:
    past: list[tuple[float, Any]] = []
    for t, s in pairwise(r):
        past = [(t, (y - denoise(y, t)) / t), *past][:order]
        nodes = [level for level, _ in past]
        for j, (_, n) in enumerate(past):
            y = y + integrate(lambda u, j=j, nodes=nodes: lagrange(nodes, j, u), t, s) * n
    return y


def dpmpp_2s(r: list[float], y: Any, denoise: Denoise, draw: Draw) -> Any:
    for t, s in pairwise(r):
        m = math.sqrt(t * s)
        u = m / t * y + (1 - m / t) * denoise(y, t)
        y = s / t * y + (1 - s / t) * denoise(u, m)
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
        e = 2 * a * (snr * abs(z) / abs(score)) ** 2
        x = x + e * score + math.sqrt(2 * e) * z
    return x


def langevin(
    p: Process, times: list[float], x: float, denoise: Denoise, draw: Draw,
    snr: float, n_steps: int, norm: str,
) -> float:  # fmt: skip
    """One coordinate a sample, so that norms are absolute values."""
    assert norm == "sample"
    for t, s in pairwise(times):
        x = _langevin_move(p, t, s, x, denoise, draw, snr, n_steps)
        x = p.alpha(s) / p.alpha(t) * x
    return x


def predictor_corrector(
    p: Process, times: list[float], x: float, denoise: Denoise, draw: Draw,
    predictor: dict[str, Any], corrector: dict[str, Any],
) -> float:  # fmt: skip
    """The default pair: Langevin, then reverse diffusion."""
    for i, (t, s) in enumerate(pairwise(times)):
        x = _langevin_move(p, t, s, x, denoise, draw, corrector["snr"], corrector["n_steps"])
        x = _reverse_step(p, t, s, x, denoise, draw() if i < len(times) - 2 else 0.0)
    return x


# By the name of the yaml: on noise levels only, or in the SDE's own time.
LEVELS: dict[str, Oracle] = {
    "ancestral": ancestral, "ddim": ddim, "deis": deis, "dpm2": dpm2, "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde, "dpmpp_2s": dpmpp_2s, "dpmpp_3m": dpmpp_3m,
    "dpmpp_3m_sde": dpmpp_3m_sde, "lms": lms, "renoise": renoise, "er_sde": er_sde, "heun": heun,
    "ipndm": ipndm, "restart": restart, "sa_solver": sa_solver, "seeds": seeds, "unipc": unipc,
}  # fmt: skip
TIMES: dict[str, Oracle] = {
    "euler_maruyama": euler_maruyama, "langevin": langevin,
    "predictor_corrector": predictor_corrector, "reverse_diffusion": reverse_diffusion,
    "torchsde": torchsde,
}  # fmt: skip
