"""Random numbers as a function of (seed, stream, index, position), for many rows at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sde_diffusion.process.noise.box_muller import box_muller
from sde_diffusion.process.noise.engines import Array, Lanes, engine_for
from sde_diffusion.process.noise.philox import philox, round_keys
from sde_diffusion.process.noise.seeds import checked_seed, checked_seeds
from sde_diffusion.process.noise.streams import Law, Stream, stream_word

# Draws that are made at once where they are small.
AHEAD = 8


@final
class Draws:
    """Numbers of N rows: each has a seed of its own, or all share one and have their numbers.

    Philox4x32-10 is keyed by the row's seed. Its counter has four words of 32 bits:

        position // 4 of a normal (// 2 of others) in the row, flattened,
        index (which draw, or step, or node: its low half), row number or high half of the index,
        and the stream: purpose, form, part.

    So a number does not depend on the other rows, their order, the shape beyond its position, the
    dtype, the device or the number of threads. Nothing is read from the device, and after the
    construction nothing is copied to it.

    Attributes:
        device: of what is returned.
        place: where it is made: the CPU in the place of a device that knows no float64.
    """

    def __init__(
        self, keys: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device | str
    ) -> None:
        self.device = torch.device(device)
        self.engine = engine_for(self.device)
        self.place = self.engine.device
        self.count = len(rows)
        self.keys = self.engine.array(keys)
        self.rows = self.engine.array(rows[:, None])

    @classmethod
    def of_seeds(cls, seeds: Sequence[int], device: torch.device | str = "cpu") -> Draws:
        """A row for each of ``seeds``, whole numbers 0 .. 2^64 - 1; else InputError."""
        keys = round_keys(checked_seeds(seeds))
        return cls(keys, np.zeros(keys.shape[2], dtype=np.int64), device)

    @classmethod
    def of_rows(
        cls, seed: int, rows: range, device: torch.device | str = "cpu", first: range = range(1)
    ) -> Draws:
        """Rows ``rows`` of a batch that has one ``seed``: the same in every part of the batch.

        Of several numbers in ``first``, all rows once for each, whose draw 0 is draw ``first``.
        """
        keys = round_keys([checked_seed(seed, "seed")])
        for index in (first.start, first.stop - 1):
            _check(index)
        words = np.array(first, dtype=np.int64)[:, None] + (np.array(rows, dtype=np.int64) << 32)
        return cls(keys, words.reshape(-1), device)

    def some(self, rows: Sequence[int]) -> Draws:
        """The numbers of some of the rows alone."""
        subset, chosen = copy.copy(self), self.engine.array(np.array(rows, dtype=np.int64))
        subset.count, subset.rows = len(rows), self.rows[chosen]
        subset.keys = self.keys if self.keys.shape[2] == 1 else self.keys[:, :, chosen]
        return subset

    def normal(
        self,
        stream: Stream,
        index: int,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float64,
        part: int = 0,
    ) -> Tensor:
        """Standard normals [N, *shape]; made in float64, then rounded to ``dtype``.

        Args:
            stream: what they are for.
            index: 0 .. 2^32 - 1, which draw of the stream.
            part: 0 .. 2^22 - 1, which user of the stream.
        """
        word, column = stream_word(stream, Law.NORMAL, part), self._index(index)

        def values(rows: slice, columns: range) -> Sequence[Array]:
            return self._normals(word, column, rows, columns)

        return self._gathered(values, 4, shape, dtype).to(self.device)

    def normals(
        self, stream: Stream, first: int, shape: Sequence[int], dtype: torch.dtype
    ) -> Tensor | None:
        """Draws first .. first + AHEAD - 1 at once, [AHEAD, N, *shape]; None if they are large.

        A draw costs a hundred operations however small it is: of few numbers, several cost as much.
        """
        counters = -(-math.prod(shape) // 4)
        if AHEAD * self.count * counters > self.engine.small:
            return None
        index = self.engine.arange(first, first + AHEAD)[:, None, None]
        word = stream_word(stream, Law.NORMAL)
        out = self._empty((AHEAD, self.count, counters, 4), dtype)
        into = self.engine.array(out)
        for lane, z in enumerate(self._normals(word, index, slice(None), range(counters))):
            into[..., lane] = z
        return _cut(out, shape, dtype).to(self.device)

    def uniform(
        self,
        stream: Stream,
        index: int,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float64,
        part: int = 0,
    ) -> Tensor:
        """(n + 1/2) / 2^52 with n of 52 bits, [N, *shape]: in float64 neither 0 nor 1."""
        word, column = stream_word(stream, Law.UNIFORM, part), self._index(index)

        def values(rows: slice, columns: range) -> Array:
            words, *_ = self._words(word, column, rows, columns)
            words.whole >>= self.engine.number(12)
            words.whole &= self.engine.number(2**52 - 1)
            words.whole |= self.engine.number(0x3FF << 52)  # 1 + n / 2^52 as float64
            words.real -= self.engine.number(1 - 2.0**-53)
            return words.real

        return self._gathered(values, 2, shape, dtype).to(self.device)

    def whole(
        self, stream: Stream, index: int, shape: Sequence[int], high: int, part: int = 0
    ) -> Tensor:
        """Whole numbers 0 .. ``high`` - 1, int64 [N, *shape]: n mod high with n of 63 bits."""
        word, column = stream_word(stream, Law.WHOLE, part), self._index(index)

        def values(rows: slice, columns: range) -> Array:
            words, *_ = self._words(word, column, rows, columns)
            n = words.whole
            n >>= self.engine.number(1)
            if high & (high - 1):
                n &= self.engine.number(2**63 - 1)
                n %= self.engine.number(high)
            else:  # a power of two needs no division
                n &= self.engine.number(high - 1)
            return n

        return self._gathered(values, 2, shape, torch.int64).to(self.device)

    def combination(
        self, stream: Stream, index: Tensor, weights: Tensor, shape: Sequence[int]
    ) -> Tensor:
        """sum_l weights_l z_l, float64 [N, *shape] at ``place``, z_l the normals of draw index_l.

        Only one block at a time is held of the z_l.

        Args:
            index: int64 [L, N], or [L, 1] for the same in all rows, 0 .. 2^63 - 1.
            weights: float64, shaped like ``index``.
        """
        word = stream_word(stream, Law.NORMAL)
        index, weights = (self.engine.array(v[:, :, None]) for v in (index, weights))

        def values(rows: slice, columns: range) -> Sequence[Array]:
            lanes = self._normals(word, _part(index, rows), rows, columns)
            for z in lanes:
                z *= _part(weights, rows)
                for term in z[1:]:  # one after the other: a sum's order is torch's own affair
                    z[0] += term
            return [z[0] for z in lanes]

        return self._gathered(values, 4, shape, torch.float64, len(index))

    def _index(self, index: int) -> Array:
        _check(index)
        return self.engine.filled(index)

    def _normals(self, word: int, index: Array, rows: slice, columns: range) -> Sequence[Array]:
        """float64 [..., n, c] of n rows and c counters: the first of each counter, ... the fourth.

        To be used before the next block is made, as are ``_words``.
        """
        cos, sin = box_muller(self.engine, *self._words(word, index, rows, columns, 5))
        return cos[0], sin[0], cos[1], sin[1]

    def _words(
        self, word: int, index: Array, rows: slice, columns: range, count: int = 2
    ) -> Sequence[Lanes]:
        """int64 [2, ..., n, c], all 64 bits random: the first of each counter, and the second.

        After them memory for more of that shape: ``count`` in all.
        """
        index = index + _part(self.rows, rows)
        low, high, last = index & (2**32 - 1), index >> 32, self.engine.filled(word)
        position, keys = self.engine.arange(columns.start, columns.stop), _part(self.keys, rows)
        shape = np.broadcast_shapes(index.shape, position.shape, keys.shape[2:])
        lanes = self.engine.lanes(count, (2, *shape))
        with self.engine.broadcasting():
            philox(self.engine, position, low, high, last, keys, *lanes[:2])
        return lanes

    def _gathered(
        self,
        values: Callable[[slice, range], Sequence[Array]],
        lanes: int,
        shape: Sequence[int],
        dtype: torch.dtype,
        levels: int = 1,
    ) -> Tensor:
        """[N, *shape] by blocks: ``values(rows, columns)`` has ``lanes`` numbers a counter."""
        counters = -(-math.prod(shape) // lanes)
        out = self._empty((self.count, counters, lanes), dtype)
        into = self.engine.array(out)
        for rows, columns in _blocks(self.count, counters, self.engine.block // levels):
            block = into[rows, columns.start : columns.stop]
            for lane, numbers in enumerate(values(rows, columns)):
                block[..., lane] = numbers
        return _cut(out, shape, dtype)

    def _empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Where numbers of ``dtype`` are made: in float64 if need be."""
        written = dtype if self.engine.writes(dtype) else torch.float64
        return torch.empty(shape, dtype=written, device=self.place)


def _check(index: int) -> None:
    if not 0 <= index < 2**32:
        raise ValueError(f"index={index}: 0 .. 2^32 - 1")


def _cut(made: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """[..., counters, lanes] -> [..., *shape]: the last counter may have more than is asked for."""
    rows = made.flatten(-2)[..., : math.prod(shape)].to(dtype)
    return rows.reshape(*made.shape[:-2], *shape).contiguous()


def _part(array: Array, rows: slice) -> Array:
    """``rows`` of [..., N, 1], or all of [..., 1, 1]."""
    return array if array.shape[-2] == 1 else array[..., rows, :]


def _blocks(rows: int, columns: int, size: int) -> Iterator[tuple[slice, range]]:
    """Parts of a table of ``rows`` x ``columns`` that have about ``size`` entries at most."""
    width = max(1, min(columns, size))
    height = max(1, size // width)
    for top in range(0, rows, height):
        for left in range(0, columns, width):
            yield slice(top, top + height), range(left, min(left + width, columns))
