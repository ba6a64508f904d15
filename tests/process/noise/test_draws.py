"""Draws: a number is a function of seed, stream, index, row and position, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from sde_diffusion.process.noise import Brownian, Draws, NoiseSource, Seeds, Stream
from sde_diffusion.process.noise.engines import DeviceEngine, HostEngine
from sde_diffusion.process.noise.streams import Law, stream_word
from tests.process.noise import twin
from tests.process.noise.crossings import Crossings

F64 = torch.float64
SOURCES: dict[str, NoiseSource] = {"seeds": Seeds(), "brownian": Brownian()}
SEEDS = [3, 2**40 + 8, 5, 2**64 - 1]


def test_the_twin_agrees() -> None:
    """Python's integers and ``math``: normals within 5e-10, all else exactly."""
    draws = Draws.of_seeds(SEEDS)
    z = draws.normal(Stream.FRESH, 9, (3, 7), part=2).flatten(1)
    u = draws.uniform(Stream.FRESH, 9, (3, 7), part=2).flatten(1)
    n = draws.whole(Stream.FRESH, 9, (3, 7), 1000, part=2).flatten(1)
    normal, uniform, whole = (2 * 2**10 + kind * 2**8 + 2 for kind in range(3))
    for row, seed in enumerate(SEEDS):
        for p in range(21):
            assert float(z[row, p]) == pytest.approx(twin.normal(seed, normal, 9, p), abs=5e-10)
            fraction = (twin.word(seed, uniform, 9, p) // 2**12 + 0.5) / 2**52
            assert float(u[row, p]) == fraction
            assert int(n[row, p]) == twin.word(seed, whole, 9, p) // 2 % 1000


def test_rows_of_one_seed_agree_with_the_twin() -> None:
    draws = Draws.of_rows(2**50 + 1, range(3, 6))
    z = draws.normal(Stream.NOISE, 12, (5,))
    word = stream_word(Stream.NOISE, Law.NORMAL)
    for k, row in enumerate(range(3, 6)):
        for p in range(5):
            exact = twin.normal(2**50 + 1, word, 12, p, row)
            assert float(z[k, p]) == pytest.approx(exact, abs=5e-10)


def numbers(draws: Draws, shape: tuple[int, ...], index: int = 5) -> Iterator[Tensor]:
    nodes = torch.tensor([[1], [2**40], [2**40 + 1]])
    weights = torch.tensor([[0.3], [-1.2], [7.0]], dtype=F64)
    yield draws.normal(Stream.STEP, index, shape)
    yield draws.normal(Stream.STEP, index, shape, torch.float32)
    yield draws.uniform(Stream.STEP, index, shape)
    yield draws.whole(Stream.STEP, index, shape, 10**6)
    yield draws.combination(Stream.BROWNIAN, nodes, weights, shape)


def test_a_row_is_the_same_in_any_batch_and_order() -> None:
    for whole, flipped in zip(
        numbers(Draws.of_seeds(SEEDS), (3, 11)),
        numbers(Draws.of_seeds(SEEDS[::-1]), (3, 11)),
        strict=True,
    ):
        assert torch.equal(whole, flipped.flip(0))
    for k, seed in enumerate(SEEDS):
        both = (numbers(Draws.of_seeds(s), (3, 11)) for s in (SEEDS, [seed]))
        for whole, alone in zip(*both, strict=True):
            assert torch.equal(whole[k : k + 1], alone)


def test_a_position_is_the_same_in_any_shape() -> None:
    draws = Draws.of_seeds(SEEDS)
    for long, short in zip(numbers(draws, (4, 50)), numbers(draws, (101,)), strict=True):
        assert torch.equal(long.flatten(1)[:, :101], short)
    for first, single in zip(numbers(draws, (5,)), numbers(draws, ()), strict=True):
        assert torch.equal(first[:, 0], single)


@pytest.mark.parametrize("block", [1, 2, 7, 64, 2**20])
def test_the_blocks_do_not_show(block: int) -> None:
    usual, other = Draws.of_seeds(SEEDS), Draws.of_seeds(SEEDS)
    other.engine.block = block
    for a, b in zip(numbers(usual, (3, 7)), numbers(other, (3, 7)), strict=True):
        assert torch.equal(a, b)


def test_the_number_of_threads_does_not_show() -> None:
    """More numbers than a block has, and than torch gives to one thread."""
    threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(list(numbers(Draws.of_seeds(range(3)), (70_001,))))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_threads_do_not_meet() -> None:
    """Each has memory of its own for what comes between."""
    seeds = [[k, k + 1] for k in range(8)]
    alone = [list(numbers(Draws.of_seeds(s), (20_011,))) for s in seeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda s: list(numbers(Draws.of_seeds(s), (20_011,))), seeds))
    assert all(
        torch.equal(a, b)
        for one, other in zip(alone, together, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_a_draw_leaves_no_trace() -> None:
    """What was drawn is not changed by the next draw, nor is numpy as the caller has set it."""
    buffer, draws = np.getbufsize(), Draws.of_seeds(SEEDS)
    first = list(numbers(draws, (3, 8)))
    kept = [values.clone() for values in first]
    list(numbers(draws, (3, 8), index=6))
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))
    assert np.getbufsize() == buffer


@pytest.mark.parametrize("high", [1, 2, 2**31, 2**62, 3, 10**6, 2**63 - 1])
def test_whole_numbers_are_the_bits_modulo_their_bound(high: int) -> None:
    n = Draws.of_seeds([7]).whole(Stream.FRESH, 1, (9,), high)
    word = stream_word(Stream.FRESH, Law.WHOLE)
    assert n[0].tolist() == [twin.word(7, word, 1, p) // 2 % high for p in range(9)]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_dtype_comes_last(source: NoiseSource, dtype: torch.dtype) -> None:
    rounded, exact = (source.batch([1, 2], (3, 50), d) for d in (dtype, F64))
    start = source.start([1, 2], (3, 50), F64)
    assert torch.equal(source.start([1, 2], (3, 50), dtype), start.to(dtype))
    assert torch.equal(rounded.fresh(), exact.fresh().to(dtype))
    assert torch.equal(rounded.normal(0.8, 0.1), exact.normal(0.8, 0.1).to(dtype))
    assert rounded.entropy() == exact.entropy()


def other_device(seeds: list[int], device: torch.device) -> Draws:
    draws = Draws.of_seeds(seeds)
    draws.engine = DeviceEngine(device)
    draws.keys, draws.rows = (draws.engine.array(a) for a in (draws.keys, draws.rows))
    draws.place = draws.device = device
    return draws


def test_torch_gives_what_numpy_gives() -> None:
    """The arithmetic of devices, run on the CPU: 4e-15 for square roots that are rounded anew."""
    assert isinstance(Draws.of_seeds(SEEDS).engine, HostEngine)
    device = other_device(SEEDS, torch.device("cpu"))
    for ours, its in zip(
        numbers(Draws.of_seeds(SEEDS), (501,)), numbers(device, (501,)), strict=True
    ):
        tolerance = 4e-15 if ours.dtype == F64 else 0
        assert torch.allclose(ours, its, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_device_gives_what_the_cpu_gives() -> None:
    host, device = Draws.of_seeds(SEEDS), Draws.of_seeds(SEEDS, "cuda")
    for ours, its in zip(numbers(host, (501,)), numbers(device, (501,)), strict=True):
        assert torch.allclose(ours, its.cpu(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_nothing_is_read_from_the_device_nor_copied_to_it(source: NoiseSource) -> None:
    """On a device without values, where a read is an error, and each copy would be logged."""
    noise = source.batch(SEEDS, (3, 5), torch.float32, "meta")
    with Crossings() as log:
        draws = [noise.fresh(), noise.normal(80.0, 2.0), noise.normal(2.0, 0.3)]
    assert log.seen == []
    assert all(z.device.type == "meta" and z.shape == (4, 3, 5) for z in draws)
    assert noise.entropy() == source.batch(SEEDS, (3, 5)).entropy()
    with Crossings() as log:
        torch.zeros(2).to("meta")
    assert log.seen  # it can see


@pytest.mark.parametrize("shape", [(0,), (2, 0), ()])
def test_empty_rows_and_empty_batches(shape: tuple[int, ...]) -> None:
    for seeds in ([], [4, 5]):
        for values in numbers(Draws.of_seeds(seeds), shape):
            assert values.shape == (len(seeds), *shape)


def test_a_counter_has_one_purpose() -> None:
    """Streams, forms and parts have words of 32 bits, each its own, whatever the index."""
    words = {stream_word(s, k, p) for s in Stream for k in Law for p in (0, 1, 255, 2**22 - 1)}
    assert len(words) == len(Stream) * len(Law) * 4
    assert max(words) < 2**32
    with pytest.raises(ValueError, match="part"):
        stream_word(Stream.STEP, Law.NORMAL, 2**22)
    with pytest.raises(ValueError, match="index"):
        Draws.of_seeds([1]).normal(Stream.STEP, 2**32, (2,))


def test_uniform_numbers_are_never_0_or_1() -> None:
    u = Draws.of_seeds(range(4)).uniform(Stream.LEVELS, 0, (10_000,))
    assert 0 < float(u.min()) < 1e-3
    assert 1 - 1e-3 < float(u.max()) < 1
