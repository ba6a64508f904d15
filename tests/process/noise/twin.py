"""Noise once more, in Python's integers and ``math``, as its papers and docstrings have it."""

from __future__ import annotations

import math

M = 2**32


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, ...]:
    """Random123's philox4x32-10: ten rounds, the key raised between them."""
    r, k = counter, key
    for i in range(10):
        if i:
            k = ((k[0] + 0x9E3779B9) % M, (k[1] + 0xBB67AE85) % M)
        a, b = 0xD2511F53 * r[0], 0xCD9E8D57 * r[2]
        r = (b // M ^ r[1] ^ k[0], b % M, a // M ^ r[3] ^ k[1], a % M)
    return r


def word(seed: int, stream_word: int, index: int, lane: int, row: int = 0) -> int:
    """64 bits: word ``lane`` of a row, two a counter."""
    counter = (lane // 2, index % M, index // M + row, stream_word)
    r = philox(counter, (seed % M, seed // M))
    return r[2 * (lane % 2)] * M + r[2 * (lane % 2) + 1]


def box_muller(bits: int) -> tuple[float, float]:
    """r cos, r sin: 40 low bits for the radius, 24 high ones, signed, for the angle."""
    n, a = bits % 2**40, bits // 2**40
    a -= 2**24 if a >= 2**23 else 0
    # Of 1 - u where u > 1/2, which float64 has exactly.
    v = (2**40 - n - 0.5) / 2**40
    log = math.log1p(-v) if n >= 2**39 else math.log((n + 0.5) / 2**40)
    r, theta = math.sqrt(-2 * log), math.pi * (a + 0.5) / 2**23
    return r * math.cos(theta), r * math.sin(theta)


def normal(seed: int, stream_word: int, index: int, position: int, row: int = 0) -> float:
    """The normal at ``position`` of a row."""
    return box_muller(word(seed, stream_word, index, position // 2, row))[position % 2]
