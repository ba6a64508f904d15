"""What a batch draws: its start, moves, steps and entropy, each counted apart."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.process.noise import VERSION, Brownian, Draws, NoiseSource, Seeds, Stream

F64 = torch.float64
SOURCES: dict[str, NoiseSource] = {"seeds": Seeds(), "brownian": Brownian()}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_sample_has_its_own_numbers(source: NoiseSource) -> None:
    """Equal in any batch and order; unequal between seeds; unequal from draw to draw."""
    batch, alone = source.batch([3, 8, 5], (2, 2), F64), source.batch([5], (2, 2), F64)
    seen = [source.start([3, 8, 5], (2, 2), F64)]
    assert torch.equal(seen[0][2], source.start([5], (2, 2), F64)[0])
    for t, s in [(0.8, 0.5), (0.5, 0.1)]:
        for draw in (lambda n: n.fresh(), lambda n, t=t, s=s: n.normal(t, s)):
            seen.append(draw(batch))
            assert torch.equal(seen[-1][2], draw(alone)[0])
    assert len(torch.cat(seen).unique()) == 5 * 12
    assert batch.entropy()[2] == alone.entropy()[0]
    entropy = [*batch.entropy(), *batch.entropy()]
    assert len(set(entropy)) == 6
    assert all(0 <= seed < 2**62 for seed in entropy)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_no_draw_moves_another(source: NoiseSource) -> None:
    """What one stream gives depends on no other stream."""
    busy, idle = (source.batch([7], (3,), F64) for _ in range(2))
    busy.fresh(), busy.normal(0.8, 0.5), busy.entropy()
    idle.fresh()
    assert torch.equal(busy.fresh(), idle.fresh())
    idle.normal(0.8, 0.5)
    assert torch.equal(busy.normal(0.5, 0.1), idle.normal(0.5, 0.1))
    idle.entropy()
    assert busy.entropy() == idle.entropy()


def test_every_source_has_the_same_start() -> None:
    assert torch.equal(Seeds().start([4, 5], (3,)), Brownian().start([4, 5], (3,)))


def test_steps_can_be_drawn_in_any_order() -> None:
    noise = Seeds().batch([1, 2], (5,), F64)
    steps = [noise.normal(1.0 - 0.1 * k, 0.9 - 0.1 * k) for k in range(4)]
    assert noise.steps == 4
    for k in (2, 0, 3, 1):
        assert torch.equal(noise.draw(k), steps[k])


def test_a_draw_is_what_its_stream_and_number_say() -> None:
    """What files may rely on: the map from the calls to the counters."""
    noise, draws = Seeds().batch([6], (3,), F64), Draws.of_seeds([6])
    noise.fresh(), noise.normal(1.0, 0.9)
    for ours, stream, index in [
        (Seeds().start([6], (3,), F64), Stream.START, 0),
        (noise.fresh(), Stream.FRESH, 1),
        (noise.normal(0.9, 0.5), Stream.STEP, 1),
    ]:
        assert torch.equal(ours, draws.normal(stream, index, (3,)))


def test_the_version_has_its_numbers() -> None:
    """A change of these is a change of all samples: raise VERSION with it.

    Computed from ``twin``, which holds the formula; here stands that nobody has changed both.
    """
    assert VERSION == 2
    start = Seeds().start([0, 2**64 - 1], (3,), F64)
    written = [
        [-0.482966098125, 0.355335830554, -0.139259199982],
        [-2.446458244794, 0.832082749816, -1.477741846663],
    ]
    assert torch.allclose(start, torch.tensor(written, dtype=F64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (2,), (3, 5), (5000,)])
def test_small_steps_are_drawn_ahead_and_are_the_same(shape: tuple[int, ...]) -> None:
    """To the last bit, in any dtype; what a solver does to one changes no other."""
    for dtype in (torch.float64, torch.float32):
        noise, alone = (Seeds().batch([5, 2**40], shape, dtype) for _ in range(2))
        for k in range(20):
            assert torch.equal(noise.normal(1.0, 0.5).zero_(), torch.zeros(2, *shape, dtype=dtype))
            assert noise.steps == k + 1
            assert torch.equal(noise.draw(k), alone.normal(1.0, 0.5))
    assert (noise.ahead is None) == (shape == (5000,))
