"""What step k sees: permutations, strata, dropped labels, and each step on its own."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.batches import derive, draw_batch, rows_of, stratified
from sde_diffusion.data.images import ImageSet, to_float
from sde_diffusion.levels import LogUniform


def data(n: int) -> ImageSet:
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 1, 4, 4), generator=g, dtype=torch.uint8)
    return ImageSet(images, torch.arange(n) % 5, 5, "random")


@pytest.mark.parametrize(("total", "batch_size"), [(20, 5), (20, 7), (6, 15), (5, 1)])
def test_each_epoch_is_a_permutation(total: int, batch_size: int) -> None:
    steps = 3 * total  # a whole number of epochs, however the batches fall
    rows = torch.cat([rows_of(k, total, batch_size, 0) for k in range(1, steps + 1)])
    epochs = rows.reshape(-1, total)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(total).expand(len(epochs), -1))
    assert len({tuple(e) for e in epochs.tolist()}) > 1


def test_a_step_is_the_same_whatever_came_before() -> None:
    first = draw_batch(9, data(20), LogUniform(), 6, 0.3, seed=4)
    for step in range(1, 9):
        draw_batch(step, data(20), LogUniform(), 6, 0.3, seed=4)
    torch.manual_seed(77)
    again = draw_batch(9, data(20), LogUniform(), 6, 0.3, seed=4)
    assert torch.equal(first.x_0, again.x_0)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.sigma, again.sigma)
    assert first.cond is not None
    assert again.cond is not None
    assert torch.equal(first.cond.keep, again.cond.keep)


def test_images_and_labels_stay_together() -> None:
    d = data(20)
    batch, rows = draw_batch(3, d, LogUniform(), 6, 0.0, seed=1), rows_of(3, 20, 6, 1)
    assert torch.equal(batch.x_0, to_float(d.images[rows]))
    assert batch.cond is not None
    assert torch.equal(batch.cond.values["label"], rows % 5)
    assert bool(batch.cond.keep.all())


def test_the_streams_of_a_seed_never_meet() -> None:
    keys = {derive(s, purpose, k) for s in range(4) for purpose in range(4) for k in range(50)}
    assert len(keys) == 4 * 4 * 50


def test_levels_are_stratified() -> None:
    g = torch.Generator().manual_seed(0)
    u = stratified(64, g)
    assert torch.equal((u.sort().values * 64).floor(), torch.arange(64.0))
    assert not torch.equal(u, u.sort().values)
    batch = draw_batch(1, data(20), LogUniform(0.01, 10.0), 8, 0.0, seed=0)
    strata = (batch.sigma.sort().values / 0.01).log() / torch.tensor(1000.0).log() * 8
    assert torch.equal(strata.floor(), torch.arange(8.0))


def test_noise_is_standard_normal() -> None:
    steps = range(1, 51)
    noise = torch.cat([draw_batch(k, data(20), LogUniform(), 20, 0.0, 0).noise for k in steps])
    assert float(noise.mean()) == pytest.approx(0, abs=4 / 16_000**0.5)
    assert float(noise.var()) == pytest.approx(1, abs=4 * (2 / 16_000) ** 0.5)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_share_of_dropped_labels(share: float) -> None:
    dropped = 0
    for step in range(1, 101):
        cond = draw_batch(step, data(20), LogUniform(), 40, share, seed=2).cond
        assert cond is not None
        dropped += int((~cond.keep).sum())
    # 4000 draws: four standard deviations are 4 sqrt(p (1 - p) / 4000).
    tolerance = 4 * (share * (1 - share) / 4000) ** 0.5
    assert dropped / 4000 == pytest.approx(share, abs=tolerance + 1e-9)


def test_images_without_labels_have_no_condition() -> None:
    d = data(20)
    unlabelled = ImageSet(d.images, None, 0, "unlabelled")
    assert draw_batch(1, unlabelled, LogUniform(), 4, 0.1, 0).cond is None
