"""What training draws: a function of (seed, step, row), the same for a process's rows alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sde_diffusion.process.noise import BatchDraws, Draws, Stream, derived_seed, permutation
from tests.refusals import refused


def numbers(draws: BatchDraws, total: int) -> Iterator[Tensor]:
    yield draws.normal(Stream.NOISE, (3, 5))
    yield draws.uniform(Stream.LABELS, ())
    yield draws.uniform(Stream.AUGMENT, (4,), part=1)
    yield draws.whole(Stream.AUGMENT, (4,), 3, part=1)
    yield draws.stratified(Stream.LEVELS, total)


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_the_parts_of_a_batch_are_the_batch(world: int) -> None:
    """Bit for bit, and so are the rows of one process in any order of steps."""
    whole = list(numbers(BatchDraws(2**63, 9, range(12)), 12))
    size = 12 // world
    ranks = [BatchDraws(2**63, 9, range(k * size, k * size + size)) for k in range(world)]
    for rank in ranks:
        rank.normal(Stream.NOISE, (7,))
    pieces = zip(*(numbers(rank, 12) for rank in ranks), strict=True)
    for values, parts in zip(whole, pieces, strict=True):
        assert torch.equal(torch.cat(parts), values)
    assert whole[0].dtype == torch.float32


def test_rows_steps_seeds_and_parts_differ() -> None:
    draws = [
        BatchDraws(seed, step, range(4)).normal(Stream.NOISE, (3,), part=part)
        for seed in (0, 2**32)
        for step in (0, 1)
        for part in (0, 1)
    ]
    assert len(torch.stack(draws).unique()) == 8 * 12


def test_strata_have_one_level_each() -> None:
    """In each of 64 parts one, in an order that changes from step to step, spread evenly within."""
    steps = [BatchDraws(1, k, range(64)).stratified(Stream.LEVELS, 64) for k in range(50)]
    for u in steps:
        assert torch.equal((u.sort().values * 64).floor(), torch.arange(64.0, dtype=torch.float64))
    assert not torch.equal(steps[0].argsort(), steps[1].argsort())
    within = (torch.cat(steps) * 64) % 1
    assert float(within.mean()) == pytest.approx(0.5, abs=5 / (12 * 3200) ** 0.5)
    assert float(torch.stack(steps)[:, 0].mean()) == pytest.approx(0.5, abs=5 / (12 * 50) ** 0.5)


def test_one_stratum_stays_off_the_ends() -> None:
    u = torch.cat([BatchDraws(1, k, range(1)).stratified(Stream.LEVELS, 1) for k in range(200)])
    assert 1e-6 <= float(u.min()) < float(u.max()) <= 1 - 1e-6


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_has_each_number_once(n: int) -> None:
    orders = [permutation(3, Stream.ORDER, epoch, n) for epoch in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(n))
        assert order.dtype == torch.int64
    if n == 1000:
        assert not torch.equal(orders[0], orders[1])


def test_permutations_are_uniform() -> None:
    """3,000 orders of three: each of six 500 times, chi-square below 30.9 (p = 1e-5)."""
    orders = torch.stack([permutation(k, Stream.ORDER, 1, 3) for k in range(3000)])
    counts = torch.bincount(orders @ torch.tensor([9, 3, 1])).double()
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert float(((counts - 500) ** 2 / 500).sum()) < 30.9


def test_the_share_of_a_mask() -> None:
    """40,000 coins of rate 0.1, within 5 standard errors."""
    masks = [BatchDraws(2, k, range(40)).uniform(Stream.LABELS, ()) < 0.1 for k in range(1000)]
    share = float(torch.cat(masks).double().mean())
    assert share == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / 40_000) ** 0.5)


def test_derived_seeds_differ_and_are_seeds() -> None:
    streams = (Stream.WEIGHTS, Stream.DROPOUT)
    seeds = {derived_seed(s, stream, k) for s in range(4) for stream in streams for k in range(50)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**62 for seed in seeds)


def test_what_is_drawn_ahead_is_what_a_step_draws() -> None:
    """Numbers made for several steps at once are those of each step alone, to the last bit."""
    for step in (0, 7, 8, 1003):
        batch, alone = BatchDraws(5, step, range(2, 6)), Draws.of_rows(5, range(2, 6))
        within = alone.uniform(Stream.LEVELS, step, ())
        assert torch.equal(batch.uniform(Stream.LEVELS, ()), within)
        for shape in ((), (3, 5), (2000,)):  # the last is too large to be drawn ahead
            normal = alone.normal(Stream.NOISE, step, shape, torch.float32, 3)
            assert torch.equal(batch.normal(Stream.NOISE, shape, part=3), normal)
        coins = alone.uniform(Stream.LABELS, step, (), torch.float32, 3)
        assert torch.equal(batch.uniform(Stream.LABELS, (), torch.float32, 3), coins)
        strata = permutation(5, Stream.LEVELS, step, 9)[2:6]
        assert torch.equal(batch.stratified(Stream.LEVELS, 9), (strata + within) / 9)
        seed = Draws.of_rows(5, range(1)).whole(Stream.DROPOUT, step, (), 2**62)
        assert derived_seed(5, Stream.DROPOUT, step) == int(seed)


def test_what_a_caller_does_to_its_numbers_is_nobody_elses() -> None:
    draws = BatchDraws(5, 1, range(4))
    for draw in (
        lambda: draws.stratified(Stream.LEVELS, 4),
        lambda: draws.normal(Stream.NOISE, (3,)),
        lambda: draws.uniform(Stream.LABELS, ()),
    ):
        drawn = [draw() for _ in range(2)]
        kept = drawn[1].clone()
        drawn[0].zero_()
        assert torch.equal(drawn[1], kept)
        assert torch.equal(draw(), kept)


def test_a_wrong_seed_is_one_line() -> None:
    for draw in (
        lambda: BatchDraws(-1, 0, range(2)),
        lambda: permutation(-1, Stream.ORDER, 0, 4),
        lambda: derived_seed(-1, Stream.WEIGHTS, 0),
    ):
        with refused("seed", "give a whole number from 0"):
            draw()
