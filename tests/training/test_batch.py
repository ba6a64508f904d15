"""What step k sees: permutations, strata, dropped labels, and each step on its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.process.noise import BatchDraws, Stream
from sde_diffusion.training.augment import Augment, AugmentChain, Dequantise, Flip, Geometric
from sde_diffusion.training.batch import Batch, Batches, rows_of
from sde_diffusion.training.levels import LogUniform
from tests.far import FAR, FarDevice
from tests.refusals import refused

F64 = torch.float64


def data(n: int) -> ImageSet:
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 1, 4, 4), generator=g, dtype=torch.uint8)
    return ImageSet(images, torch.arange(n) % 5, 5, "random")


def drawn(
    step: int, images: ImageSet, batch_size: int, dropout: float, seed: int, **more: Any
) -> Batch:
    """A batch with log-uniform levels."""
    part = more.pop("part", (0, 1))
    return Batches(images, LogUniform(), batch_size, {LABEL: dropout}, seed, **more).draw(
        step, part
    )


@pytest.mark.parametrize(("total", "batch_size"), [(20, 5), (20, 7), (6, 15), (5, 1)])
def test_each_epoch_is_a_permutation(total: int, batch_size: int) -> None:
    steps = 3 * total  # a whole number of epochs, however the batches fall
    rows = torch.cat([rows_of(k, total, batch_size, 0) for k in range(1, steps + 1)])
    epochs = rows.reshape(-1, total)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(total).expand(len(epochs), -1))
    assert len({tuple(e) for e in epochs.tolist()}) > 1


def test_a_step_is_the_same_whatever_came_before() -> None:
    first = drawn(9, data(20), 6, 0.3, seed=4)
    for step in range(1, 9):
        drawn(step, data(20), 6, 0.3, seed=4)
    torch.manual_seed(77)
    again = drawn(9, data(20), 6, 0.3, seed=4)
    assert torch.equal(first.x_0, again.x_0)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.sigma, again.sigma)
    assert first.cond is not None
    assert again.cond is not None
    assert torch.equal(first.cond.parts["label"].keep, again.cond.parts["label"].keep)


def test_images_and_labels_stay_together() -> None:
    d = data(20)
    batch, rows = drawn(3, d, 6, 0.0, seed=1), rows_of(3, 20, 6, 1)
    assert torch.equal(batch.x_0, to_float(d.images[rows]))
    assert batch.cond is not None
    assert torch.equal(batch.cond.parts["label"].value, rows % 5)
    assert bool(batch.cond.parts["label"].keep.all())


def test_levels_are_stratified() -> None:
    batch = Batches(data(20), LogUniform(0.01, 10.0), 8, {LABEL: 0.0}, 0).draw(1)
    strata = (batch.sigma.sort().values / 0.01).log() / torch.tensor(1000.0).log() * 8
    assert torch.equal(strata.floor(), torch.arange(8.0))


def test_noise_is_standard_normal() -> None:
    steps = range(1, 51)
    noise = torch.cat([drawn(k, data(20), 20, 0.0, 0).noise for k in steps])
    assert float(noise.mean()) == pytest.approx(0, abs=4 / 16_000**0.5)
    assert float(noise.var()) == pytest.approx(1, abs=4 * (2 / 16_000) ** 0.5)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_share_of_dropped_labels(share: float) -> None:
    dropped = 0
    for step in range(1, 101):
        cond = drawn(step, data(20), 40, share, seed=2).cond
        assert cond is not None
        dropped += int((~cond.parts["label"].keep).sum())
    # 4000 draws: four standard deviations are 4 sqrt(p (1 - p) / 4000).
    tolerance = 4 * (share * (1 - share) / 4000) ** 0.5
    assert dropped / 4000 == pytest.approx(share, abs=tolerance + 1e-9)


def test_images_without_labels_have_no_condition() -> None:
    d = data(20)
    unlabelled = ImageSet(d.images, None, 0, "unlabelled")
    assert drawn(1, unlabelled, 4, 0.1, 0).cond is None


def fields(batch: Batch) -> dict[str, Tensor]:
    found = {"x_0": batch.x_0, "sigma": batch.sigma, "noise": batch.noise}
    if batch.cond is not None:
        for name, part in batch.cond.parts.items():
            found |= {name: part.value, f"{name}.keep": part.keep}
    return found


@pytest.mark.parametrize("world", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "augment", [AugmentChain(), Geometric(p=0.5), Dequantise()], ids=lambda x: type(x).__name__
)
def test_the_parts_of_a_batch_are_the_batch(world: int, augment: Augment) -> None:
    """Bit for bit, across the end of an epoch too (step 4 of 20 rows)."""

    def rows(part: tuple[int, int]) -> dict[str, Tensor]:
        return fields(drawn(4, data(20), 6, 0.3, 2, augment=augment, part=part))

    whole, parts = rows((0, 1)), [rows((rank, world)) for rank in range(world)]
    assert [len(part["sigma"]) for part in parts] == [6 // world] * world
    for name, values in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), values), name


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with refused("batch_size=6: give a multiple of 4"):
        drawn(1, data(20), 6, 0.0, 0, part=(1, 4))


def test_augmentation_changes_images_alone_by_a_stream_of_its_own() -> None:
    geometric, d = Geometric(p=0.5), data(20)
    plain, changed = (
        fields(drawn(3, d, 6, 0.3, 1, augment=a)) for a in (AugmentChain(), geometric)
    )
    for name in ("sigma", "noise", "label", "label.keep"):
        assert torch.equal(plain[name], changed[name]), name
    x_0, told = geometric(plain["x_0"], BatchDraws(1, 3, range(6)))
    assert torch.equal(changed["x_0"], x_0)
    assert torch.equal(changed["augment"], told["augment"])
    assert not torch.equal(x_0, plain["x_0"])


def test_what_was_done_to_unlabelled_images_is_told() -> None:
    unlabelled = ImageSet(data(20).images, None, 0, "unlabelled")
    batch = drawn(1, unlabelled, 4, 1.0, 0, augment=Geometric(p=0.9))
    assert batch.cond is not None
    assert set(batch.cond.parts) == {"augment"}
    assert bool((batch.cond.parts["augment"].value != 0).any())
    assert drawn(1, unlabelled, 4, 1.0, 0, augment=Flip()).cond is None


def test_each_number_has_its_stream() -> None:
    """Levels, noise and dropped labels are those of the step's draws, in this dtype."""
    batch = Batches(data(20), LogUniform(), 6, {LABEL: 0.3}, 7).draw(5, dtype=F64)
    draws = BatchDraws(7, 5, range(6))
    u = draws.stratified(Stream.LEVELS, 6)
    assert torch.equal(batch.sigma, LogUniform().sigma(u))
    assert torch.equal(batch.noise, draws.normal(Stream.NOISE, (1, 4, 4), F64))
    assert batch.x_0.dtype == F64
    assert batch.cond is not None
    keep = draws.uniform(Stream.LABELS, (), torch.float32) >= 0.3
    assert torch.equal(batch.cond.parts["label"].keep, keep)


@pytest.mark.parametrize("augment", [Geometric(p=0.5), Dequantise(), Flip()])
def test_a_batch_is_drawn_where_it_is_needed(augment: Augment) -> None:
    """What crosses are the images as they are kept and their labels; keys once in eight steps."""
    batches = Batches(data(20), LogUniform(), 6, {LABEL: 0.3}, 7, augment)
    near = fields(batches.draw(9, (1, 2)))
    with FarDevice() as log:
        batches.draw(8, (1, 2), FAR)
        assert log.reads == []
        assert len(log.copies) <= 2 + 3 * 2  # keys of the step, of eight steps, and of strata
        log.clear()
        far = fields(batches.draw(9, (1, 2), FAR))
        assert log.reads == []
        assert len(log.copies) == 2
        for name, value in far.items():
            assert torch.allclose(value.cpu(), near[name], rtol=1e-6, atol=1e-6), name


def test_a_batch_in_pieces_is_the_batch() -> None:
    whole = drawn(2, data(20), 6, 0.5, seed=3)
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
