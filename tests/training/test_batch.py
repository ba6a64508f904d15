"""What step k sees: permutations, strata, dropped labels, and each step on its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.training.augment import Augment, Dequantise, Flip, Geometric
from sde_diffusion.training.batch import (
    AUGMENT,
    NOISE,
    Batch,
    derive,
    draw_batch,
    rows_of,
    stratified,
)
from sde_diffusion.training.levels import LogUniform


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
    assert torch.equal(first.cond.parts["label"].keep, again.cond.parts["label"].keep)


def test_images_and_labels_stay_together() -> None:
    d = data(20)
    batch, rows = draw_batch(3, d, LogUniform(), 6, 0.0, seed=1), rows_of(3, 20, 6, 1)
    assert torch.equal(batch.x_0, to_float(d.images[rows]))
    assert batch.cond is not None
    assert torch.equal(batch.cond.parts["label"].value, rows % 5)
    assert bool(batch.cond.parts["label"].keep.all())


def test_the_streams_of_a_seed_never_meet() -> None:
    keys = {derive(s, purpose, k) for s in range(4) for purpose in range(5) for k in range(50)}
    assert len(keys) == 4 * 5 * 50


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
        dropped += int((~cond.parts["label"].keep).sum())
    # 4000 draws: four standard deviations are 4 sqrt(p (1 - p) / 4000).
    tolerance = 4 * (share * (1 - share) / 4000) ** 0.5
    assert dropped / 4000 == pytest.approx(share, abs=tolerance + 1e-9)


def test_images_without_labels_have_no_condition() -> None:
    d = data(20)
    unlabelled = ImageSet(d.images, None, 0, "unlabelled")
    assert draw_batch(1, unlabelled, LogUniform(), 4, 0.1, 0).cond is None


def fields(batch: Batch) -> dict[str, Tensor]:
    found = {"x_0": batch.x_0, "sigma": batch.sigma, "noise": batch.noise}
    if batch.cond is not None:
        for name, part in batch.cond.parts.items():
            found |= {name: part.value, f"{name}.keep": part.keep}
    return found


@pytest.mark.parametrize("world", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "augment", [None, Geometric(p=0.5), Dequantise()], ids=lambda x: type(x).__name__
)
def test_the_parts_of_a_batch_are_the_batch(world: int, augment: Augment | None) -> None:
    """Bit for bit, across the end of an epoch too (step 4 of 20 rows)."""

    def drawn(part: tuple[int, int]) -> dict[str, Tensor]:
        return fields(draw_batch(4, data(20), LogUniform(), 6, 0.3, 2, augment, part))

    whole, parts = drawn((0, 1)), [drawn((rank, world)) for rank in range(world)]
    assert [len(part["sigma"]) for part in parts] == [6 // world] * world
    for name, values in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), values), name


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match=r"^batch_size=6: give a multiple of 4"):
        draw_batch(1, data(20), LogUniform(), 6, 0.0, 0, part=(1, 4))


def test_augmentation_changes_images_alone_by_a_stream_of_its_own() -> None:
    geometric, d = Geometric(p=0.5), data(20)
    plain, changed = (
        fields(draw_batch(3, d, LogUniform(), 6, 0.3, 1, a)) for a in (None, geometric)
    )
    for name in ("sigma", "noise", "label", "label.keep"):
        assert torch.equal(plain[name], changed[name]), name
    generator = torch.Generator().manual_seed(derive(1, AUGMENT, 3))
    x_0, told = geometric(plain["x_0"], generator)
    assert torch.equal(changed["x_0"], x_0)
    assert torch.equal(changed["augment"], told["augment"])
    assert not torch.equal(x_0, plain["x_0"])


def test_what_was_done_to_unlabelled_images_is_told() -> None:
    unlabelled = ImageSet(data(20).images, None, 0, "unlabelled")
    batch = draw_batch(1, unlabelled, LogUniform(), 4, 1.0, 0, Geometric(p=0.9))
    assert batch.cond is not None
    assert set(batch.cond.parts) == {"augment"}
    assert bool((batch.cond.parts["augment"].value != 0).any())
    assert draw_batch(1, unlabelled, LogUniform(), 4, 1.0, 0, Flip()).cond is None


def test_the_streams_of_a_step_in_their_order() -> None:
    """Strata, their shuffle, noise, dropped labels: what the shipped model was trained on."""
    g = torch.Generator().manual_seed(derive(7, NOISE, 5))
    batch = draw_batch(5, data(20), LogUniform(), 6, 0.3, 7)
    assert torch.equal(batch.sigma, LogUniform().sigma(stratified(6, g)))
    assert torch.equal(batch.noise, torch.randn(6, 1, 4, 4, generator=g))
    assert batch.cond is not None
    assert torch.equal(batch.cond.parts["label"].keep, torch.rand(6, generator=g) >= 0.3)


def test_a_batch_in_pieces_is_the_batch() -> None:
    whole = draw_batch(2, data(20), LogUniform(), 6, 0.5, seed=3)
    pieces = whole.split(3)
    for name in ("x_0", "sigma", "noise"):
        joined = torch.cat([getattr(piece, name) for piece in pieces])
        assert torch.equal(joined, getattr(whole, name))
    conditions = [piece.cond for piece in pieces if piece.cond is not None]
    assert whole.cond is not None
    assert torch.equal(
        torch.cat([c.parts["label"].keep for c in conditions]), whole.cond.parts["label"].keep
    )
    assert torch.equal(
        torch.cat([c.parts["label"].value for c in conditions]), whole.cond.parts["label"].value
    )
