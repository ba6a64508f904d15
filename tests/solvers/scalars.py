"""What the scalar recursions are made of: numbers, processes and integrals, in plain Python.

A recursion runs on anything that can be added and scaled: on floats it gives one sample from its
start and its draws; on ``Affine`` numbers it gives offset, gain and response to each draw, that is
the exact law on a Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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
