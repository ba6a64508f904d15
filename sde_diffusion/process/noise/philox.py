"""Philox4x32-10: 128 random bits for each counter and key, from whole-number arithmetic alone.

Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sde_diffusion.process.noise.engines import Array

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
# What the key grows by from round to round.
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF


def round_keys(seeds: Sequence[int]) -> NDArray[np.int64]:
    """Keys [10, 2, N, 1] of N seeds of 64 bits: k0 is the low word, k1 the high one, + i WEYL."""
    seed = np.array(list(seeds), dtype=np.uint64)
    words = np.stack([seed & np.uint64(MASK), seed >> np.uint64(32)]).astype(np.int64)
    growth = np.arange(ROUNDS)[:, None] * np.array(WEYL)
    return (words[None, :, :, None] + growth[:, :, None, None]) & MASK


def philox(c0: Array, c1: Array, c2: Array, c3: Array, keys: Array) -> tuple[Array, Array]:
    """The output words r0 .. r3 as two of 64 bits, (r0 2^32 + r1, r2 2^32 + r3), int64.

    A round maps (c0, c1, c2, c3), hi and lo being the halves of a product of 64 bits, to

        hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0).

    Args:
        c0, c1, c2, c3: words of the counter, of at least one dimension, broadcast against each
            other and the keys: what a row shares is computed once.
        keys: [10, 2, N, 1], ``round_keys``.
    """
    for i in range(ROUNDS):
        k0, k1 = keys[i, 0], keys[i, 1]
        # The products may wrap to negative numbers and c1, c3 keep their high halves: all
        # that is above 32 bits is masked before the next product.
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        if i < 2:  # by then every word has met all that it depends on, and has its full shape
            c0, c2 = ((p1 >> 32) ^ (c1 ^ k0)) & MASK, ((p0 >> 32) ^ (c3 ^ k1)) & MASK
        else:
            c0, c2 = _mixed(p1 >> 32, c1, k0), _mixed(p0 >> 32, c3, k1)
        c1, c3 = p1, p0
    return (c0 << 32) | (c1 & MASK), (c2 << 32) | (c3 & MASK)


def _mixed(high: Array, word: Array, key: Array) -> Array:
    """(high ^ word ^ key) mod 2^32 in place of ``high``."""
    high ^= word
    high ^= key
    high &= MASK
    return high
