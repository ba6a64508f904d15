"""A battery for the law of the numbers. Seeds are fixed; thresholds are those of a fair test.

One-sided or two-sided, each asks for a p-value of about 1e-5 or more, or for 5 standard errors:
a generator that fails was not unlucky.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from sde_diffusion.process.noise import Draws, Stream
from sde_diffusion.process.noise.engines import HostEngine
from tests.process.noise.words import drawn

P = 1e-5


def bits_of(n: int, seed: int = 0) -> np.ndarray:
    """n output words of 64 bits: 64 seeds, positions from 0."""
    position = np.arange(n // 128)
    zero = np.zeros((1, 1), dtype=np.int64)
    counter = (position, zero + 3, zero, zero + 1)
    pair = drawn(HostEngine(), counter, range(seed, seed + 64))
    return np.stack(list(pair), -1).reshape(-1)


def fair(counts: np.ndarray) -> bool:
    """Chi-square of equal shares, neither too large nor too small."""
    p = stats.chisquare(counts.reshape(-1)).pvalue
    return bool(P < p < 1 - P)


def test_each_bit_is_a_fair_coin() -> None:
    """2^17 words: 64 counts, their chi-square as a whole, each within 5 standard errors."""
    words = bits_of(2**17)
    ones = ((words[:, None] >> np.arange(64)) & 1).sum(0)
    z = (ones - len(words) / 2) / (len(words) / 4) ** 0.5
    assert np.abs(z).max() < 5
    assert P < stats.chi2.sf((z**2).sum(), 64) < 1 - P


@pytest.mark.parametrize("byte", range(8))
def test_bytes_are_uniform(byte: int) -> None:
    """256 values of one byte of the word, and of its lower half beside the next word's."""
    values = (bits_of(2**17) >> 8 * byte) & 255
    assert fair(np.bincount(values, minlength=256))
    assert fair(np.bincount((values[:-1] & 15) * 16 + (values[1:] & 15), minlength=256))


def avalanche(rounds: int) -> tuple[float, float]:
    """Flip each of 192 input bits of 64 counters and keys.

    Returns the mean share of the 128 output bits that flip, in standard errors from 1/2, and the
    farthest share of any pair of an input and an output bit.
    """
    g = np.random.default_rng(5)
    base = g.integers(0, 2**32, (64, 6))
    given = np.repeat(base[None], 193, 0)
    for bit in range(192):
        given[bit + 1, :, bit // 32] ^= 1 << bit % 32
    flat = given.reshape(-1, 6)
    seeds = flat[:, 4].astype(np.uint64) + (flat[:, 5].astype(np.uint64) << np.uint64(32))
    counter = [flat[:, k : k + 1] for k in range(4)]
    words = np.concatenate(list(drawn(HostEngine(), counter, seeds.tolist(), rounds)), 1)
    flips = (words.reshape(193, 64, 2) ^ words.reshape(193, 64, 2)[:1])[1:]
    share = ((flips[..., None] >> np.arange(64)) & 1).mean(1)
    count = share.size
    error = 0.5 / 64**0.5
    return float(abs(share.mean() - 0.5) / error * count**0.5), float(
        abs(share - 0.5).max() / error
    )


def test_each_input_bit_flips_half_of_the_output() -> None:
    """24,576 pairs: the mean within 5 standard errors, the farthest within 6 (p = 5e-5)."""
    mean, farthest = avalanche(10)
    assert mean < 5
    assert farthest < 6


def test_the_battery_sees_too_few_rounds() -> None:
    mean, farthest = avalanche(3)
    assert mean > 5
    assert farthest > 6


@pytest.fixture(scope="module")
def z() -> Tensor:
    """2^21 normals: 32 seeds."""
    return Draws.of_seeds(range(32)).normal(Stream.STEP, 0, (2**16,)).flatten()


def test_moments_of_normals(z: Tensor) -> None:
    """E z^k for k = 1 .. 8, within 5 standard errors."""
    for k in range(1, 9):
        exact, second = (stats.norm.moment(j) for j in (k, 2 * k))
        error = math.sqrt((second - exact**2) / len(z))
        assert abs(float((z**k).mean()) - exact) < 5 * error, k


def test_the_distribution_of_normals(z: Tensor) -> None:
    """Kolmogorov and Smirnov: D sqrt(n) below 2.4 (p = 2e-5) for all, and for |z| > 2.5 alone."""
    assert ks(z, torch.special.ndtr) < 2.4
    tail = z[z.abs() > 2.5].abs()
    share = torch.special.ndtr(torch.tensor(-2.5, dtype=z.dtype))
    assert ks(tail, lambda v: 1 - torch.special.ndtr(-v) / share) < 2.4


def ks(values: Tensor, cdf: object) -> float:
    """D sqrt(n) of ``values`` against ``cdf``."""
    ordered = cdf(values.sort().values)  # type: ignore[operator]
    n = len(ordered)
    grid = torch.arange(n + 1, dtype=ordered.dtype) / n
    distance = torch.maximum((grid[1:] - ordered).max(), (ordered - grid[:-1]).max())
    return float(distance) * n**0.5


@pytest.mark.parametrize("sigma", [3.0, 4.0, 4.5])
def test_tails_of_normals(z: Tensor, sigma: float) -> None:
    """Counts beyond +- sigma: Poisson, with 2,831, 66 and 7 expected on each side."""
    expected = len(z) * float(stats.norm.sf(sigma))
    for count in (int((z > sigma).sum()), int((z < -sigma).sum())):
        assert stats.poisson.cdf(count, expected) > P
        assert stats.poisson.sf(count - 1, expected) > P


def rows_by(what: str) -> Tensor:
    """Rows of 2^14 normals that differ in one word of counter or key alone."""
    n = 2**14
    if what == "seed":
        return Draws.of_seeds(range(64)).normal(Stream.STEP, 0, (n,))
    if what == "high half of the seed":
        return Draws.of_seeds([k << 32 for k in range(64)]).normal(Stream.STEP, 0, (n,))
    if what == "bit of the seed":
        return Draws.of_seeds([1 << k for k in range(64)]).normal(Stream.STEP, 0, (n,))
    one = Draws.of_seeds([11])
    if what == "draw":
        return torch.cat([one.normal(Stream.STEP, k, (n,)) for k in range(64)])
    if what == "stream":
        return torch.cat([one.normal(s, k, (n,)) for s in Stream for k in range(4)])
    if what == "row":
        return Draws.of_rows(11, range(64)).normal(Stream.NOISE, 3, (n,))
    assert what == "position"
    return one.normal(Stream.STEP, 0, (n * 64,)).reshape(n, 64).T


KINDS = ["seed", "high half of the seed", "bit of the seed", "draw", "stream", "row", "position"]


@pytest.mark.parametrize("what", KINDS)
def test_rows_are_independent(what: str) -> None:
    """Correlations of all pairs of 60 or 64 rows, of values, of their squares and of their signs.

    Times sqrt(n) they are standard normals: the largest within 5.5 (p = 8e-5), the sum of squares
    within 5 standard errors of a chi-square.
    """
    rows = rows_by(what)
    for values in (rows, rows.square() - 1, rows.sign()):
        unit = values - values.mean(1, keepdim=True)
        unit = unit / unit.norm(dim=1, keepdim=True)
        r = (unit @ unit.T)[torch.ones(len(rows), len(rows)).triu(1) > 0] * rows.shape[1] ** 0.5
        assert float(r.abs().max()) < 5.5
        assert abs(float(r.square().mean()) - 1) < 5 * (2 / len(r)) ** 0.5


def test_neighbours_in_a_row_are_uncorrelated(z: Tensor) -> None:
    """Lags 1 to 64, of values and squares, within 5 standard errors."""
    for values in (z, (z.square() - 1) / 2**0.5):
        for lag in range(1, 65):
            r = float((values[lag:] * values[:-lag]).mean()) * (len(z) - lag) ** 0.5
            assert abs(r) < 5, lag


def test_two_normals_of_a_word_are_independent(z: Tensor) -> None:
    """Their angle is uniform in 64 sectors, in four shells of radius."""
    x, y = z.reshape(-1, 2).T
    sector = ((torch.atan2(y, x) / (2 * math.pi) + 0.5) * 64).long().clamp(0, 63)
    shell = ((x.square() + y.square()) / 2 / math.log(2)).long().clamp(max=3)
    for k in range(4):
        assert fair(torch.bincount(sector[shell == k], minlength=64).numpy())


def test_uniform_and_whole_numbers() -> None:
    """1,000 bins and a high that is no power of two: chi-square."""
    draws = Draws.of_seeds(range(16))
    u = draws.uniform(Stream.LABELS, 4, (2**14,)).flatten()
    assert fair(torch.bincount((u * 1000).long(), minlength=1000).numpy())
    n = draws.whole(Stream.AUGMENT, 4, (2**14,), 997).flatten()
    assert fair(torch.bincount(n, minlength=997).numpy())
