"""Standard normals from 64 random bits, in arithmetic that every machine rounds alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from sde_diffusion.process.noise.engines import Array, Engine, Lanes

# Coefficients come by * and / alone, which every machine rounds alike, as it may not a power.
QUARTER = math.pi / 4
SQUARE = QUARTER * QUARTER
# Of sin(pi x / 4) / x and cos(pi x / 4) in powers of x^2.
SIN = list(accumulate(range(2, 12, 2), lambda c, k: -c * SQUARE / k / (k + 1), initial=QUARTER))
COS = list(accumulate(range(2, 14, 2), lambda c, k: -c * SQUARE / k / (k - 1), initial=1.0))
# Twice these, for x 2^23 in the place of x. Powers of two move no bit of a number but its
# exponent: here and below they are where they spare a pass over memory.
TWICE_SIN = [2 * c * 2.0 ** (-46 * k - 23) for k, c in enumerate(SIN)]
TWICE_COS = [2 * c * 2.0 ** (-46 * k) for k, c in enumerate(COS)]
# Of log((1 + s) / (1 - s)) = 2 s sum_k s^2k / (2k + 1), times -1/2; and of log 2.
LOG = [-1 / (2 * k + 1) for k in range(6)]
LOG_2 = -0.6931471805599453 / 2
# The upper half of sqrt(1/2) as float64, as an int64; and the bits below the exponent.
ROOT_HALF = 0x3FE6A09E << 32
FRACTION = 2**52 - 1
# float64 has the whole numbers from 2^52 to 2^53 alone, so that the last bits of one are those of
# an int64: whole numbers become float64 by setting the bits above, and a subtraction.
ONES, ONES_BITS = 2.0**52, 0x433 << 52
# The same for numbers with a sign: they go up and down from the middle.
MIDDLE, MIDDLE_BITS = 1.5 * 2.0**52, (0x433 << 52) + 2**51


def box_muller(engine: Engine, words: Lanes, *work: Lanes) -> tuple[Array, Array]:
    """Normals r cos theta and r sin theta, float64 [...] each, of the int64 ``words`` [...].

    The low 40 bits n of a word give the radius, its high 24 bits a, signed, the angle:

        r = sqrt(-2 log u),  u = (n + 1/2) / 2^40;    theta = pi (a + 1/2) / 2^23.

    Radii reach 7.54, beyond which a normal lies once in 2 10^13; directions are 2^24. All of it is
    float64, one operation after the other as written below: within 5e-10 of the exact formula.
    Numbers cost most in passes over memory, hence the updates in place.

    Args:
        words: used up.
        work: four, for what comes between; the normals are in two of them.
    """
    number, library = engine.number, engine.library
    *others, radius = work
    half_radius = _half_log(engine, words, others, radius.real)
    library.sqrt(half_radius, out=half_radius)
    words.whole >>= number(40)
    words.whole += number(MIDDLE_BITS)
    x = words.real
    x -= number(MIDDLE)
    x += number(0.5)
    sin, cos, square = (lanes.real for lanes in others)
    library.multiply(x, x, out=square)
    # Twice those of a quarter of theta, which is then doubled twice.
    _polynomial(engine, square, TWICE_SIN, sin)
    _polynomial(engine, square, TWICE_COS, cos)
    sin *= x
    for _ in range(2):
        cos *= sin
        sin *= sin
        sin = engine.less(2.0, sin)
        sin, cos = cos, sin  # of 2 sin and 2 cos: 4 sin cos, 2 - (2 sin)^2
    cos *= half_radius
    sin *= half_radius
    return cos, sin


def _half_log(engine: Engine, words: Lanes, work: Sequence[Lanes], out: Array) -> Array:
    """-log((n + 1/2) / 2^40) / 2 of the low bits n of ``words``, in ``out``.

    n + 1/2 = m 2^e with m from sqrt(1/2) to sqrt(2), and log m by s = (m - 1) / (m + 1): where u
    is near 1, e is 40 and the logarithm keeps its relative error, at most 6e-11.
    """
    number, library = engine.number, engine.library
    m, e, below = work
    library.bitwise_and(words.whole, number(2**40 - 1), out=m.whole)
    m.whole |= number(ONES_BITS)
    m.real -= number(ONES - 0.5)  # n + 1/2, exactly
    # Bits of m count from sqrt(1/2), and e from -64, or that of n = 0 would be negative.
    library.subtract(m.whole, number(ROOT_HALF - (64 << 52)), out=e.whole)
    library.bitwise_and(e.whole, number(FRACTION), out=m.whole)
    m.whole += number(ROOT_HALF)
    e.whole >>= number(52)
    e.whole |= number(ONES_BITS)
    e.real -= number(ONES + 64 + 40)
    e.real *= number(LOG_2)
    s, square = m.real, below.real
    library.add(s, number(1.0), out=square)
    s -= number(1.0)
    s /= square
    library.multiply(s, s, out=square)
    _polynomial(engine, square, LOG, out)
    out *= s
    out += e.real
    return out


def _polynomial(engine: Engine, x: Array, coefficients: Sequence[float], out: Array) -> None:
    """sum_k coefficients[k] x^k, by Horner's rule."""
    *others, last = [engine.number(c) for c in coefficients]
    engine.library.multiply(x, last, out=out)
    for coefficient in others[:0:-1]:
        out += coefficient
        out *= x
    out += others[0]
