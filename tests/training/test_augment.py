"""Augmentation: each change is the one it says it is, the label says all, and the odds hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from sde_diffusion.errors import InputError
from sde_diffusion.images.pixels import to_float
from sde_diffusion.process.noise import BatchDraws
from sde_diffusion.training.augment import Augment, AugmentChain, Dequantise, Flip, Geometric

SIDE = 16
NOTHING = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def images(n: int = 6, side: int = SIDE) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def draws(rows: int = 6, seed: int = 1) -> BatchDraws:
    return BatchDraws(seed, 1, range(rows))


def done(x: Tensor, **changes: float) -> tuple[Tensor, Tensor]:
    """Images and one row of labels after ``changes`` of every image."""
    names = ["mirror_x", "mirror_y", "turns", "w", "right", "down"]
    row = [changes.get(name, 0.0) for name in names]
    out, values = Geometric(shift=0.25).apply(x, torch.tensor([row] * len(x)))
    return out, values["augment"][0]


@pytest.mark.parametrize("augment", [AugmentChain(), Flip(0.0), Geometric(p=0.0, flip=0.0)])
def test_without_probability_nothing_happens(augment: Augment) -> None:
    x = images()
    out, values = augment(x, draws())
    assert torch.equal(out, x)
    if augment.labels:
        assert torch.equal(values["augment"], torch.zeros(6, augment.labels))
    else:
        assert values == {}


def test_a_chain_is_its_parts_one_after_the_other() -> None:
    """Each with draws of its own; what the network is told stands side by side, in order."""
    parts = [Flip(0.5), Geometric(p=0.5), Geometric(p=0.5), Dequantise()]
    chain, x = AugmentChain(parts), images()
    out, values = chain(x, draws())
    told = []
    for number, part in enumerate(parts):
        x, its = part(x, draws(), number)
        told += list(its.values())
    assert torch.equal(out, x)
    assert torch.equal(values["augment"], torch.cat(told, 1))
    assert not torch.equal(*told)
    assert values["augment"].shape[1] == chain.labels == 14
    # The order counts, and one alone is itself.
    other, _ = AugmentChain([parts[1], parts[0]])(images(), draws())
    one, _ = AugmentChain(parts[:2])(images(), draws())
    assert not torch.equal(other, one)
    alone, its = AugmentChain(parts[:1])(images(), draws())
    assert torch.equal(alone, parts[0](images(), draws())[0])
    assert its == {}


def test_images_of_the_caller_are_left_alone() -> None:
    x = images()
    Geometric(p=1.0)(x, draws())
    assert torch.equal(x, images())


def test_mirror_images_and_their_labels() -> None:
    x = images()
    out, label = done(x, mirror_x=1)
    assert torch.equal(out, x.flip(-1))
    assert label.tolist() == [1, 0, 0, 0, 0, 0, 0]
    out, label = done(x, mirror_y=1)
    assert torch.equal(out, x.flip(-2))
    assert label.tolist() == [0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("turns", "cos", "sin"), [(1, 0, 1), (2, -1, 0), (3, 0, -1)])
@pytest.mark.parametrize("side", [16, 7])
def test_quarter_turns(turns: int, cos: int, sin: int, side: int) -> None:
    x = images(side=side)
    out, label = done(x, turns=turns)
    assert torch.equal(out, torch.rot90(x, turns, (-2, -1)))
    assert label.tolist() == [0, 0, cos - 1, sin, 0, 0, 0]
    assert torch.equal(done(out, turns=4 - turns)[0], x)


def test_moves_are_of_whole_pixels_into_a_mirrored_border() -> None:
    """0.25 of 16 pixels is 4: half of it right is 2, all of it up is 4."""
    x = images()
    out, label = done(x, right=0.5, down=-1.0)
    bordered = pad(x, (4, 4, 4, 4), mode="reflect")
    assert torch.equal(out, bordered[:, :, 4 + 4 : 4 + 4 + SIDE, 4 - 2 : 4 - 2 + SIDE])
    assert label.tolist() == [0, 0, 0, 0, 0, 0.5, -1.0]
    back, _ = done(out, right=-0.5, down=1.0)
    assert torch.equal(back[:, :, 4:, :-4], x[:, :, 4:, :-4])


@pytest.mark.parametrize("w", [-1.5, 0.7, 2.0])
def test_scaling_is_about_the_centre(w: float) -> None:
    """Linear interpolation is exact on a ramp, away from the mirrored border; scale = 2^(0.2 w)."""
    ramp = torch.arange(SIDE) - (SIDE - 1) / 2
    x = (ramp[None, :] + 3 * ramp[:, None]).expand(2, 1, SIDE, SIDE)
    out, label = done(x, w=w)
    inner = slice(3, -3)
    expected = x / 2 ** (0.2 * w)
    assert torch.allclose(out[..., inner, inner], expected[..., inner, inner], atol=1e-4)
    assert label.tolist() == pytest.approx([0, 0, 0, 0, w, 0, 0])


def test_changes_come_in_their_order() -> None:
    x = images()
    one = done(done(done(x, mirror_x=1)[0], turns=1)[0], right=0.5)[0]
    assert torch.equal(done(x, mirror_x=1, turns=1, right=0.5)[0], one)
    assert not torch.equal(
        done(done(x, turns=1)[0], mirror_x=1)[0], done(x, turns=1, mirror_x=1)[0]
    )


def test_the_label_says_all_that_was_done() -> None:
    """From the labels alone the same changes are made again."""
    geometric, x = Geometric(p=0.6), images(200)
    out, values = geometric(x, draws(200))
    flip, upside, cos, sin, w, right, down = values["augment"].unbind(1)
    turns = torch.atan2(sin, cos + 1) / (torch.pi / 2) % 4
    drawn = torch.stack([flip, upside, turns.round(), w, right, down], 1)
    assert torch.equal(geometric.apply(x, drawn)[0], out)


def test_the_odds() -> None:
    """Counts of 20,000 rows within four standard deviations; w and the moves by their moments."""
    n, p, flip = 20_000, 0.12, 0.5
    drawn = Geometric(p, flip).draw(draws(n))
    happened = [(drawn[:, k] != 0).float().mean() for k in range(6)]
    for share, wanted in zip(happened, [flip, p, p, p, p, p], strict=True):
        assert float(share) == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / n) ** 0.5)
    turns = drawn[:, 2][drawn[:, 2] != 0]
    for k in (1, 2, 3):
        tolerance = 4 * (2 / 9 / len(turns)) ** 0.5
        assert float((turns == k).float().mean()) == pytest.approx(1 / 3, abs=tolerance)
    w = drawn[:, 3][drawn[:, 3] != 0]
    assert float(w.mean()) == pytest.approx(0, abs=4 / len(w) ** 0.5)
    assert float(w.var()) == pytest.approx(1, abs=4 * (2 / len(w)) ** 0.5)
    moves = drawn[:, 4:][drawn[:, 4] != 0]
    assert float(moves.abs().max()) <= 1
    # U(-1, 1): variance 1/3, fourth moment 1/5.
    assert float(moves.square().mean()) == pytest.approx(
        1 / 3, abs=4 * ((1 / 5 - 1 / 9) / moves.numel()) ** 0.5
    )
    apart = torch.corrcoef(torch.cat([(drawn[:, :5] != 0).float().T]))
    assert float((apart - torch.eye(5)).abs().max()) < 4 / n**0.5


def test_half_of_the_images_are_flipped() -> None:
    x = images(2000, 2)
    flipped = (Flip(0.5)(x, draws(2000))[0] == x.flip(-1)).all(dim=(1, 2, 3))
    assert float(flipped.float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 2000**0.5)


def test_dequantised_levels_fill_their_bins() -> None:
    """k survives in its bin (k / 128 - 1, (k + 1) / 128 - 1), evenly spread: u has mean 1/2 and
    variance 1/12 within four standard errors, and neighbours are not correlated."""
    k = torch.arange(256, dtype=torch.uint8).expand(100, 1, 16, 256)
    out, values = Dequantise()(to_float(k), draws(100))
    u = (out + 1) * 128 - k
    assert values == {}
    assert float(u.min()) >= -1e-4  # rounding of float32 at 256
    assert float(u.max()) <= 1 + 1e-4
    n = u.numel()
    assert float(u.mean()) == pytest.approx(0.5, abs=4 * (1 / 12 / n) ** 0.5)
    assert float(u.var()) == pytest.approx(1 / 12, abs=4 * (1 / 180 / n) ** 0.5)
    for shifted in (u.roll(1, 0), u.roll(1, -1)):
        correlation = ((u - 0.5) * (shifted - 0.5)).mean() * 12
        assert abs(float(correlation)) < 4 / n**0.5


def test_the_largest_scale_leaves_numbers() -> None:
    x = images(500)
    out, _ = Geometric(p=1.0, scale=8.0)(x, draws(500))
    # Interpolation never goes beyond its neighbours, up to rounding.
    assert bool((out.isfinite() & (out.abs() <= x.abs().max() * (1 + 1e-6))).all())


def test_the_draws_are_those_of_the_batch() -> None:
    one, two, other = (Geometric(0.5)(images(), draws(seed=seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Flip(1.5), "augment.flip.p=1.5"),
        (lambda: Geometric(p=-0.1), "augment.geometric.p=-0.1"),
        (lambda: Geometric(flip=2.0), "augment.geometric.flip=2"),
        (lambda: Geometric(scale=-1.0), "augment.geometric.scale=-1"),
        (lambda: Geometric(shift=1.0), "augment.geometric.shift=1"),
        (lambda: Flip()(torch.zeros(3, 2), draws(3)), "augment: changes images"),
        (lambda: Dequantise()(torch.zeros(3, 2), draws(3)), "augment: changes images"),
        (lambda: Geometric()(torch.zeros(3, 1, 4, 6), draws(3)), "augment=geometric: .* 4 x 6"),
        (lambda: Geometric()(torch.zeros(3, 1, 1, 1), draws(3)), "augment=geometric: .* 1 x 1"),
        (lambda: Geometric(scale=50.0), "augment.geometric.scale=50"),
    ],
)
def test_a_wrong_argument_is_named(make: type, key: str) -> None:
    with pytest.raises(InputError, match=f"^{key}"):
        make()
