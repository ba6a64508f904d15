"""Philox4x32-10: 128 random bits for each counter and key, from whole-number arithmetic alone.

Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sde_diffusion.process.noise.engines import Array, Engine, Lanes

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
# What the key grows by from round to round.
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF


def round_keys(seeds: Sequence[int], rounds: int = ROUNDS) -> NDArray[np.int64]:
    """Keys [rounds, 2, N, 1] of N seeds of 64 bits: k0 is the low word, k1 the high one, + i WEYL.

    Those of rounds 3, 5, 7 and 9 stand in the upper half, above that of the round after: a product
    meets both at once.
    """
    seed = np.array(list(seeds), dtype=np.uint64)
    words = np.stack([seed & np.uint64(MASK), seed >> np.uint64(32)]).astype(np.int64)
    growth = np.arange(rounds)[:, None] * np.array(WEYL)
    keys = (words[None, :, :, None] + growth[:, :, None, None]) & MASK
    keys[3::2] <<= 32
    keys[3:-1:2] |= keys[4::2]
    return keys


def philox(
    engine: Engine, c0: Array, c1: Array, c2: Array, c3: Array, keys: Array, out: Lanes, work: Lanes
) -> None:
    """The output words r0 .. r3 as two of 64 bits, (r0 2^32 + r1, r2 2^32 + r3), in ``out``.

    A round maps (c0, c1, c2, c3), hi and lo being the halves of a product of 64 bits, to

        hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0).

    So c1 and c3 are the lower halves of the last round's products, and a round is

        p = M0 c0,  c2 = hi(p) ^ lo(last p) ^ k1;    q = M1 c2,  c0 = hi(q) ^ lo(last q) ^ k0.

    Four arrays are enough, and their passes through memory are what it costs: a product each,
    the halves upon each other, a mask, and for every other round the keys of two.

    Args:
        c0, c1, c2, c3: words of the counter, of at least one dimension, broadcast against each
            other and the keys to [...]; c1 and c2 have one shape.
        keys: [rounds, 2, N, 1], ``round_keys``.
        out: int64 [2, ...].
        work: [2, ...], for what comes between.
    """
    m0, m1, mask, half = (engine.number(value) for value in (*MULTIPLIERS, MASK, 32))
    xor = engine.library.bitwise_xor
    p, q = work.two
    last_q, last_p = out.two  # where q and p of the last round will be
    _begin(engine, (c0, c1, c2, c3), keys, (p, q, last_p, last_q))
    for i in range(2, len(keys)):
        p.whole *= m0
        q.whole *= m1
        if i % 2:
            p.whole ^= keys[i, 1]
            q.whole ^= keys[i, 0]
        if i < len(keys) - 1:
            for last, product in ((last_p, p), (last_q, q)):
                xor(last.low, product.high, out=last.low)
                last.whole &= mask  # the upper half would change the next product
            p, q, last_p, last_q = last_q, last_p, p, q
    for last, product in ((last_p, p), (last_q, q)):
        last.whole <<= half
        product.whole ^= last.whole


def _begin(engine: Engine, counter: Sequence[Array], keys: Array, lanes: Sequence[Lanes]) -> None:
    """c0 and c2 after two rounds, and the last p and q with the key that is next, in ``lanes``.

    Words have smaller shapes so far: what all rows, or all positions, share is computed once.
    """
    c0, c1, c2, c3 = counter
    m0, m1, mask, half = (engine.number(value) for value in (*MULTIPLIERS, MASK, 32))
    p, q = c0 * m0, c2 * m1
    # Products may wrap to negative numbers: all above 32 bits is masked before the next one.
    c0, c2 = ((q >> half) ^ (c1 ^ keys[0, 0])) & mask, ((p >> half) ^ (c3 ^ keys[0, 1])) & mask
    last_p, last_q = c0 * m0, c2 * m1
    xor = engine.library.bitwise_xor
    xor((last_q >> half) & mask, (q ^ keys[1, 0]) & mask, out=lanes[0].whole)
    xor((last_p >> half) & mask, (p ^ keys[1, 1]) & mask, out=lanes[1].whole)
    lanes[2].whole[...] = last_p ^ keys[2, 1]
    lanes[3].whole[...] = last_q ^ keys[2, 0]
