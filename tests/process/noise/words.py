"""Philox's words, drawn without the rest of the package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sde_diffusion.process.noise.engines import Array, Engine
from sde_diffusion.process.noise.philox import ROUNDS, philox, round_keys


def drawn(
    engine: Engine, counter: Sequence[np.ndarray], seeds: Sequence[int], rounds: int = ROUNDS
) -> Array:
    """Both words [2, ...] of a counter of four arrays and the keys of ``seeds``."""
    keys = round_keys(seeds, rounds)
    shape = np.broadcast_shapes(*(c.shape for c in counter), keys.shape[2:])
    lanes = engine.lanes(2, (2, *shape))
    philox(engine, *map(engine.array, (*counter, keys)), *lanes)
    # The two change places after every round but the last: an odd number leaves words in the other.
    return lanes[rounds % 2].whole
