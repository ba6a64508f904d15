"""Features that nobody expects: not numbers, all alike, all but one alike, copies, one feature."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.base import Metric
from sde_diffusion.metrics.bootstrap import bootstrap_error
from sde_diffusion.metrics.energy import Energy
from sde_diffusion.metrics.extractors import PixelExtractor
from sde_diffusion.metrics.extrapolation import fd_infinity
from sde_diffusion.metrics.frechet import Reference, frechet_of_features
from sde_diffusion.metrics.inference import debiased, paired_difference
from sde_diffusion.metrics.kid import KID
from sde_diffusion.metrics.memorisation import memorisation
from sde_diffusion.metrics.prdc import PRDC
from sde_diffusion.metrics.sliced_w2 import SlicedW2
from sde_diffusion.metrics.stats import FeatureStats

from .gaussians import D, generator
from .test_jackknife import weighted_distance


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=generator(seed))


def reference(x: Tensor) -> Reference:
    return Reference.from_stats(FeatureStats.of(x))


Y, X = normal(300, 4, 1), normal(100, 4, 2)
KNOWN = reference(Y)
METRICS: list[Metric] = [KID(), PRDC(), Energy(), SlicedW2()]
USES: dict[str, Callable[[Tensor], object]] = {
    "distance": lambda x: frechet_of_features(x, KNOWN),
    "statistics": FeatureStats.of,
    "interval": lambda x: debiased(x, KNOWN),
    "reference side": lambda x: debiased(X, reference(X), x),
    "first of a pair": lambda x: paired_difference(x, X, KNOWN),
    "second of a pair": lambda x: paired_difference(X, x, KNOWN),
    "bootstrap": lambda x: bootstrap_error(x, KNOWN, blocks=10, replicates=2),
    "extrapolation": lambda x: fd_infinity(x, KNOWN),
    "memorisation": lambda x: memorisation(x, Y, X),
    "memorisation of held out": lambda x: memorisation(X, x, Y),
    "memorisation of training": lambda x: memorisation(X, Y, x),
    **{metric.name: lambda x, metric=metric: metric(x, Y) for metric in METRICS},
    **{f"{metric.name} reference": lambda x, metric=metric: metric(Y, x) for metric in METRICS},
}


def with_one(value: float) -> Tensor:
    return X.index_put((torch.tensor([7]), torch.tensor([2])), torch.tensor(value, dtype=D))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e39, 1e200])
def test_a_feature_that_is_no_number_is_named(use: str, value: float) -> None:
    with pytest.raises(InputError, match=r"1 of \d+ samples are not finite"):
        USES[use](with_one(value))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", ["line", "stack", "complex"])
def test_features_of_another_kind_are_refused(use: str, kind: str) -> None:
    x = {"line": X[:, 0], "stack": X[:, :, None], "complex": X + 0j}[kind]
    with pytest.raises(InputError, match=r"\[N, d\]|no pairs"):
        USES[use](x)


def test_an_extractor_that_overflows_is_named() -> None:
    class Broken(PixelExtractor):
        def extract(self, images: Tensor) -> Tensor:
            return super().extract(images) / 0

    with pytest.raises(InputError, match="extractor=pixel2: 3 of 3 samples are not finite"):
        Broken(2, 1, 4, 4)(torch.full((3, 1, 4, 4), 9, dtype=torch.uint8))


@pytest.mark.parametrize("side", ["images", "reference"])
def test_one_picture_for_all_seeds(side: str) -> None:
    """FD without bias is then the mean of |x - c|^2, and its error that of this mean, but 1/n."""
    point = torch.full((60, 4), 0.7, dtype=D)
    squares = (Y - 0.7).square().sum(1)
    x, x_0 = (point, Y) if side == "images" else (Y, point)
    found = debiased(x, reference(x_0), x_0)
    assert found.value == pytest.approx(float(squares.mean()), rel=1e-12)
    assert found.standard_error == pytest.approx(float(squares.std()) / 300**0.5, rel=1 / 300)
    closed = debiased(x, reference(x_0))
    assert closed.value == pytest.approx(found.value, rel=1e-12)
    assert closed.standard_error == pytest.approx(found.standard_error, rel=0.15)


def test_the_same_picture_on_both_sides_and_in_both_of_a_pair() -> None:
    point = torch.zeros(60, 4, dtype=D)
    found = debiased(point, reference(point), point)
    assert (found.value, found.standard_error) == (0.0, 0.0)
    pair = paired_difference(point, point + 1, KNOWN, Y)
    # |x|^2 - |x - 1|^2 = 2 (sum of x) - 4, over the reference.
    assert pair.value == pytest.approx(float((2 * Y.sum(1) - 4).mean()), rel=1e-12)
    assert pair.standard_error == pytest.approx(float(2 * Y.sum(1).std()) / 300**0.5, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-160, 1e-100, 1e-20])
def test_features_that_hardly_vary(scale: float) -> None:
    found = debiased(scale * X, KNOWN, Y)
    still = debiased(torch.zeros_like(X), KNOWN, Y)
    assert found.value == pytest.approx(still.value, rel=1e-10)
    assert found.standard_error == pytest.approx(still.standard_error, rel=1e-10)


def test_one_feature() -> None:
    """(mu - mu_0)^2 + (s - s_0)^2, and each of its samples left out."""
    x, y = 1.3 * X[:, :1] + 0.2, Y[:, :1]
    known = reference(y)
    mean, sd, mean_0, sd_0 = x.mean(), x.std(), y.mean(), y.std()
    true = float((mean - mean_0) ** 2 + (sd - sd_0) ** 2)
    assert frechet_of_features(x, known).value == pytest.approx(true, rel=1e-12)
    exact = Reference(known.mean, known.cov, 10**12, known.root)
    found, even = debiased(x, exact), torch.ones(100, dtype=D) / 99
    out = torch.tensor(
        [weighted_distance(x, even * (torch.arange(100) != k), 99, exact) for k in range(100)],
        dtype=D,
    )
    assert found.value == pytest.approx(true - 99 * float(out.mean() - true), abs=1e-6)
    assert found.standard_error == pytest.approx(99 / 10 * float(out.std()), rel=1e-5)


def test_copies_lie_within_balls_of_no_radius() -> None:
    """Eight copies of each image: radius 0, in which all eight lie, whatever rounding does."""
    y = (normal(40, 8, 3) + 3).repeat(8, 1)
    found = PRDC(k=5)(y, y.clone())
    assert found == pytest.approx(
        {"precision": 1.0, "recall": 1.0, "density": 8 / 5, "coverage": 1.0}
    )
    assert PRDC(k=5)(y + 1e-3, y)["precision"] == 0


def test_held_out_images_that_were_trained_on_give_no_scale() -> None:
    with pytest.raises(InputError, match="copies of training images"):
        memorisation(X, Y[:50], Y)
    with pytest.raises(InputError, match="copies of training images"):
        memorisation(torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, 4))


@pytest.mark.parametrize("use", ["distance", "statistics"])
def test_integers_and_halves_are_numbers(use: str) -> None:
    for x in ((10 * X).int(), X.half(), X > 0):
        assert str(USES[use](x)) == str(USES[use](x.double()))
