"""Standard normals from 64 random bits, in arithmetic that every machine rounds alike."""

from __future__ import annotations

import math
from itertools import accumulate

from sde_diffusion.process.noise.engines import Array, Engine

# Coefficients come by * and / alone, which every machine rounds alike, as it may not a power.
LOG_2 = 0.6931471805599453
QUARTER = math.pi / 4
SQUARE = QUARTER * QUARTER
# Of log((1 + s) / (1 - s)) = 2 s sum_k s^2k / (2k + 1), times -2.
LOG = [-4 / (2 * k + 1) for k in range(6)]
# Of sin(pi x / 4) / x and cos(pi x / 4) in powers of x^2.
SIN = list(accumulate(range(2, 12, 2), lambda c, k: -c * SQUARE / k / (k + 1), initial=QUARTER))
COS = list(accumulate(range(2, 14, 2), lambda c, k: -c * SQUARE / k / (k - 1), initial=1.0))
# The upper half of sqrt(1/2) as float64.
ROOT_HALF = 0x3FE6A09E << 32


def box_muller(engine: Engine, words: Array, out: Array) -> None:
    """Two normals, r cos theta and r sin theta, into ``out`` [..., 2] from each of ``words`` [...].

    A word is int64. Its low 40 bits n give the radius, its high 24 bits a, signed, the angle:

        r = sqrt(-2 log u),  u = (n + 1/2) / 2^40;    theta = pi (a + 1/2) / 2^23.

    Radii reach 7.54, beyond which a normal lies once in 2 10^13; directions are 2^24. All of it is
    float64, one operation after the other as written below: within 5e-10 of the exact formula.
    Numbers cost most in passes over memory, hence the updates in place.
    """
    radius = engine.sqrt(_minus_two_log(engine, engine.real(words & (2**40 - 1))))
    x = engine.real(words >> 40)
    x += 0.5
    x *= 2.0**-23
    square = x * x
    # Of a quarter of theta, then doubled twice.
    sin, cos = _polynomial(square, SIN), _polynomial(square, COS)
    sin *= x
    for _ in range(2):
        cos *= sin
        cos *= 2.0
        sin *= sin
        sin *= -2.0
        sin += 1.0
        sin, cos = cos, sin  # 2 sin cos, 1 - 2 sin^2
    cos *= radius
    sin *= radius
    out[..., 0] = cos
    out[..., 1] = sin


def _minus_two_log(engine: Engine, n: Array) -> Array:
    """-2 log((n + 1/2) / 2^40), of which n is used up.

    n + 1/2 = m 2^e with m from sqrt(1/2) to sqrt(2), and log m by s = (m - 1) / (m + 1): where u
    is near 1, e is 40 and the logarithm keeps its relative error, at most 6e-11.
    """
    n += 0.5
    m = engine.bits(n)
    e = m - ROOT_HALF
    e >>= 52
    m -= e << 52
    m = engine.from_bits(m)
    below = m + 1.0
    m -= 1.0
    m /= below
    square = m * m
    total = _polynomial(square, LOG)
    total *= m
    e = engine.real(e)
    e -= 40.0
    e *= -2 * LOG_2
    total += e
    return total


def _polynomial(x: Array, coefficients: list[float]) -> Array:
    """sum_k coefficients[k] x^k, by Horner's rule."""
    total = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        total += coefficient
        total *= x
    total += coefficients[0]
    return total
