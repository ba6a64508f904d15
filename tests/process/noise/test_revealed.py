"""Paths of adaptive solvers: their law in any order of questions, their memory, their rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.process.noise import RevealedPath
from tests.process.noise.crossings import Crossings

F64 = torch.float64


def clocks(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def test_a_path_is_brownian_in_any_order() -> None:
    """W at five clocks asked out of order, of 40,000 rows: covariance within 5 standard errors."""
    path = RevealedPath(range(4), (10_000,), torch.ones(4, dtype=F64))
    asked = [3.0, 1.5, 6.0, 2.0, 4.5]
    w = torch.stack([path.ahead(torch.full((4,), q, dtype=F64)) for q in asked]).flatten(1)
    q = clocks(*asked) - 1
    exact = torch.minimum(q[:, None], q)
    error = ((q[:, None] * q + exact**2) / w.shape[1]).sqrt()
    assert float(((w @ w.T / w.shape[1] - exact) / error).abs().max()) < 5


def test_what_was_drawn_is_known() -> None:
    """Until it is passed; the differences are from where the row stands."""
    path = RevealedPath([3, 4], (5,), clocks(1.0, 2.0))
    far = path.ahead(clocks(4.0, 5.0))
    near = path.ahead(clocks(3.0, 3.0))
    assert torch.equal(path.ahead(clocks(4.0, 5.0)), far)
    assert torch.equal(path.ahead(clocks(3.0, 3.0)), near)
    path.advance(torch.tensor([True, False]))
    assert torch.equal(path.ahead(clocks(3.0, 3.0)), near * torch.tensor([[0.0], [1.0]]))
    rest = path.ahead(clocks(4.0, 5.0))
    assert torch.allclose(rest[0], far[0] - near[0], rtol=0, atol=1e-15)
    assert torch.equal(rest[1], far[1])
    path.advance(torch.tensor([True, True]))
    assert torch.equal(path.ahead(clocks(4.0, 5.0)), torch.zeros(2, 5, dtype=F64))


def test_rows_have_their_own_clocks() -> None:
    """The same to the last bit as each row alone, whatever the others keep or refuse."""
    g, seeds = torch.Generator().manual_seed(1), [5, 2**40, 7, 8, 9]
    start = torch.rand(5, generator=g, dtype=F64)
    batch = RevealedPath(seeds, (3, 2), start)
    alone = [RevealedPath([seed], (3, 2), start[k : k + 1]) for k, seed in enumerate(seeds)]
    now = start
    for _ in range(20):
        end = now + torch.rand(5, generator=g, dtype=F64)
        kept = torch.rand(5, generator=g) < 0.5
        moved = batch.ahead(end)
        batch.advance(kept)
        for k, path in enumerate(alone):
            assert torch.equal(path.ahead(end[k : k + 1]), moved[k : k + 1])
            path.advance(kept[k : k + 1])
        now = torch.where(kept, end, now)


def walk(n: int, forget: bool) -> tuple[Tensor, int]:
    """W(1) of n rows whose steps are refused where the path is wild, as an adaptive solver does.

    A step is refused, and halved, while its increment is above 0.7 sqrt(h), down to 2^-5. With
    ``forget``, the buggy twin, a refused step is drawn anew.
    """
    path = RevealedPath(range(n), (), torch.zeros(n, dtype=F64))
    x, h, total = torch.zeros(n, dtype=F64), torch.full((n,), 0.25, dtype=F64), torch.zeros(n)
    deepest = 0
    while bool((x < 1).any()):
        end = (x + h).clamp(max=1.0)
        moved = path.ahead(end)
        kept = (moved.abs() < 0.7 * h.sqrt()) | (h <= 2.0**-5)
        path.advance(kept)
        deepest = max(deepest, int(path.clocks.isfinite().sum(0).max()))
        if forget:
            path.clocks[1:] = torch.inf
        total, x = torch.where(kept, total + moved, total), torch.where(kept, end, x)
        h = torch.where(kept, 0.25, h / 2)
    return total, deepest


def test_refused_steps_leave_the_law_alone() -> None:
    """W(1) of 8,000 rows: variance 1 within 5 standard errors; the twin is far off."""
    (remembered, deepest), (forgotten, _) = walk(8_000, False), walk(8_000, True)
    error = (2 / 8_000) ** 0.5
    assert abs(float(remembered.square().mean()) - 1) < 5 * error
    assert abs(float((remembered**4).mean()) - 3) < 5 * (96 / 8_000) ** 0.5
    assert abs(float(forgotten.square().mean()) - 1) > 25 * error
    assert deepest >= 4  # where the row stands, and three refused ends


def test_many_refusals_make_room() -> None:
    """40 ends, each nearer: all known, and the slots are freed again."""
    path = RevealedPath([1], (2,), clocks(0.0))
    seen = [path.ahead(clocks(0.5**k)) for k in range(40)]
    for k in (0, 17, 39):
        assert torch.equal(path.ahead(clocks(0.5**k)), seen[k])
    assert int(path.clocks.isfinite().sum()) == 41  # what is known takes no second slot
    for k in range(39, -1, -1):
        path.ahead(clocks(0.5**k))
        path.advance(torch.tensor([True]))
    assert int(path.clocks.isfinite().sum()) == 1
    assert len(path.clocks) == 64


def test_clocks_of_any_size() -> None:
    """From 1 to e^340: increments in units of their root are numbers of order 1."""
    path = RevealedPath(range(2), (200,), torch.ones(2, dtype=F64))
    far, near = (torch.full((2,), q, dtype=F64) for q in (3e147, 1e140))
    for q in (far, near, far):
        z = path.ahead(q) / q.sqrt()[:, None]
        assert float(z.square().mean()) == pytest.approx(1, abs=5 * (2 / 400) ** 0.5)


def test_the_past_is_not_a_number() -> None:
    path = RevealedPath([1, 2], (3,), clocks(1.0, 1.0))
    assert torch.equal(path.ahead(clocks(0.5, 2.0)).isnan().all(1), torch.tensor([True, False]))


def test_rows_that_leave_change_nothing_for_the_others() -> None:
    path, whole = (RevealedPath([4, 5, 6], (3,), clocks(0.0, 0.0, 0.0)) for _ in range(2))
    for p in (path, whole):
        p.ahead(clocks(2.0, 3.0, 4.0))
        p.advance(torch.tensor([True, True, False]))
    path.keep([0, 2])
    for ends in (clocks(5.0, 6.0, 3.0), clocks(4.0, 4.0, 3.5)):
        assert torch.equal(path.ahead(ends[[0, 2]]), whole.ahead(ends)[[0, 2]])
        path.advance(torch.tensor([False, True]))
        whole.advance(torch.tensor([False, False, True]))
    path.keep([])
    assert path.ahead(clocks()).shape == (0, 3)


def test_no_rows() -> None:
    path = RevealedPath([], (3,), torch.zeros(0, dtype=F64))
    for _ in range(3):
        assert path.ahead(torch.zeros(0, dtype=F64)).shape == (0, 3)
        path.advance(torch.zeros(0, dtype=torch.bool))


def test_with_clocks_on_the_host_nothing_is_read_from_the_device() -> None:
    """On a device without values a read is an error; what crosses are numbers a row, downwards."""
    path = RevealedPath([1, 2], (3,), clocks(0.0, 0.0), "meta")
    with Crossings() as log:
        for k in range(5):
            w = path.ahead(clocks(1 - 0.1 * k, 0.5))
            path.advance(torch.tensor([False, True]))
    assert w.device.type == "meta"
    assert set(log.seen) == {"aten._to_copy.default"}


def test_with_clocks_on_the_device_nothing_crosses() -> None:
    """If it is told how many points are known: here one more at each question."""
    path = RevealedPath([1, 2], (3,), torch.zeros(2, dtype=F64, device="meta"), "meta")
    ends = torch.ones(2, dtype=F64, device="meta")
    with Crossings() as log:
        for k in range(5):
            path.ahead(ends, k + 1)
            points = path.advance(ends > 0)
    assert points.device.type == "meta"
    assert not log.seen
