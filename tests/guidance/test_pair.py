"""Guidance of a pair: each is its formula, and which calls it spends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.guidance import (
    Auto,
    ClassifierFree,
    Guidance,
    Guided,
    Interval,
    Projected,
    Rescaled,
    Threshold,
    guided,
)
from sde_diffusion.operators.measurement import with_measurement
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.ddim import DDIM
from tests.refusals import refused

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
COND = Condition.label([0, 4, 2])
SIGMA = torch.tensor(0.5, dtype=torch.float64)


class Labelled(CountedDenoiser):
    """D = x / (1 + sigma^2) + keep (1 + label) (1, 2, 3, 4) / 4."""

    def __init__(self) -> None:
        super().__init__((4,), 0.01, 10.0)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        if cond is None:
            return x / (1 + sigma**2)
        label = cond.parts["label"]
        shift = (label.keep * (1 + label.value))[:, None] * torch.arange(1, 5) / 4
        return x / (1 + sigma**2) + shift


def answers() -> tuple[Tensor, Tensor]:
    inner = Labelled()
    return inner(X, SIGMA, COND), inner(X, SIGMA, None)


def test_another_condition_may_stand_on_the_other_side() -> None:
    """A negative: D(x, other) + w (D(x, cond) - D(x, other))."""
    other = Condition.label([1, 1, 1])
    given, away = answers()[0], Labelled()(X, SIGMA, other)
    answer = ClassifierFree(3.0)(Labelled(), X, SIGMA, Condition(COND.parts, other))
    assert torch.allclose(answer, away + 3 * (given - away))


def test_projected_guidance_leaves_the_length_along_the_image() -> None:
    """The guided step is orthogonal to D(x, c); with all of the parallel part it is cfg's."""
    given, empty = answers()
    step = Projected(3.0)(Labelled(), X, SIGMA, COND) - given
    assert float((step * given).sum(1).abs().max()) < 1e-9
    whole = Projected(3.0, parallel=1.0)(Labelled(), X, SIGMA, COND)
    assert torch.allclose(whole, ClassifierFree(3.0)(Labelled(), X, SIGMA, COND))
    short = Projected(3.0, parallel=1.0, radius=0.1)(Labelled(), X, SIGMA, COND) - given
    assert torch.allclose(short.norm(dim=1), torch.full((3,), 0.2, dtype=torch.float64))
    assert bool(((given - empty).norm(dim=1) > 0.1).all())


def test_an_interval_saves_the_second_call_outside() -> None:
    guide = Interval(3.0, low=0.4, high=1.0)
    given, empty = answers()
    for level, within in ((0.3, False), (0.4, False), (0.5, True), (1.0, True), (2.0, False)):
        sigma = torch.tensor(level, dtype=torch.float64)
        asked = Guided(Labelled(), guide)
        answer = asked(X, sigma, COND)
        wanted = ClassifierFree(3.0 if within else 1.0)(Labelled(), X, sigma, COND)
        assert torch.allclose(answer, wanted)
        assert asked.evaluations == (6 if within else 3)
    levels = torch.tensor([0.3, 0.5, 2.0], dtype=torch.float64)
    rows = guide(Labelled(), X, levels, COND)
    assert torch.allclose(rows[1], (empty + 3 * (given - empty))[1])
    with pytest.raises(InputError, match=r"guidance\.interval\.low=2.*give"):
        Interval(low=2.0, high=1.0)


@pytest.mark.parametrize(("low", "high"), [(90.0, None), (1e-4, 1e-3), (80.0, 100.0)])
def test_an_interval_without_a_level_of_the_model_is_refused(
    low: float, high: float | None
) -> None:
    inner = Labelled()
    inner.sigma_min, inner.sigma_max = 0.002, 80.0
    with pytest.raises(InputError, match=r"^guidance\.interval\.low=.* 0\.002 to 80, none of them"):
        Guided(inner, Interval(2.0, low=low, high=high))
    Guided(inner, Interval(2.0, low=0.0, high=0.002))


@pytest.mark.parametrize("low", [2.0, 20.0])
def test_an_interval_beyond_a_shortened_grid_is_refused(low: float) -> None:
    """Every call was of the condition alone."""
    inner = Labelled()
    inner.sigma_min, inner.sigma_max = 0.002, 80.0
    denoiser = guided(inner, [Interval(2.0, low=low)])
    sampler = Sampler.build(EDM(), denoiser, DDIM(), Karras(sigma_max=10.0))
    request = Request([0], 8, Condition.label([1]))
    if low < 10:
        sampler.walk(request)
        return
    with refused("guidance.interval.low=20", "0.002 to 10"):
        sampler.walk(request)


def test_rescaled_noise_has_the_spread_of_the_conditional_one() -> None:
    given, empty = answers()
    whole = Rescaled(4.0, share=1.0)(Labelled(), X, SIGMA, COND)
    assert torch.allclose((X - whole).std(1), (X - given).std(1))
    none = Rescaled(4.0, share=0.0)(Labelled(), X, SIGMA, COND)
    assert torch.allclose(none, empty + 4 * (given - empty))


def test_a_threshold_brings_the_quantile_to_one() -> None:
    """Rows within the range stay; others are clipped at their quantile and divided by it."""
    small = Threshold(1.0)(Labelled(), 0.1 * X, SIGMA, None)
    assert torch.allclose(small, 0.1 * X / 1.25)
    large = guided(Labelled(), [ClassifierFree(9.0), Threshold(0.75)])(X, SIGMA, COND)
    assert float(large.abs().max()) <= 1 + 1e-6
    d = ClassifierFree(9.0)(Labelled(), X, SIGMA, COND)
    s = d.abs().float().quantile(0.75, dim=1).double()[:, None]
    assert torch.allclose(large, d.clamp(-s, s) / s)


def test_autoguidance_leads_away_from_a_worse_model() -> None:
    """D_worse + w (D - D_worse), the same condition in both; the calls of both are counted."""

    class Worse(CountedDenoiser):
        """Half of the better one."""

        def __init__(self) -> None:
            super().__init__((4,), 0.01, 10.0)
            self.better = Labelled()

        def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
            return 0.5 * self.better(x, sigma, cond)

    asked = guided(Labelled(), [Auto(3.0, "early").opened(lambda path: Worse())])
    given = answers()[0]
    assert torch.allclose(asked(X, SIGMA, COND), 0.5 * given + 3 * (given - 0.5 * given))
    assert asked.evaluations == 6
    assert asked.cost == 2
    with pytest.raises(InputError, match=r"guidance\.auto\.model: give"):
        Auto().opened(lambda path: Worse())
    with pytest.raises(
        InputError, match=r"guidance\.auto\.model: not opened; give the guidance to"
    ):
        Auto(3.0, "early")(Labelled(), X, SIGMA, COND)


@pytest.mark.parametrize("guide", [Interval(), Projected(), Rescaled()])
def test_a_pair_needs_a_condition(guide: Guidance) -> None:
    with pytest.raises(InputError, match=r"guidance=.*needs a condition"):
        guide(Labelled(), X, SIGMA, None)


def test_autoguidance_away_from_the_model_itself_is_refused() -> None:
    """It was the model's own answer, at twice the price."""
    with refused("guidance__auto__model=mnist", "the model itself", "give a worse one"):
        load("mnist").sample(n=1, nfe=4, guidance=Auto(2.0, "mnist"))


@pytest.mark.parametrize("guide", [ClassifierFree(), Interval(), Projected(), Rescaled()])
def test_a_measurement_alone_has_no_other_side(guide: Guidance) -> None:
    """``edit guidance=cfg`` without a label asked for one answer twice, at twice the price."""
    with pytest.raises(InputError, match=r"guidance=.*needs a condition"):
        guide(Labelled(), X, SIGMA, with_measurement(X))
    guide(Labelled(), X, SIGMA, with_measurement(X, COND))


def test_pair_and_rescale_are_diffusers_arithmetic() -> None:
    """On predictions of the noise (x - D) / sigma, to 1e-6."""
    guiders = pytest.importorskip("diffusers.guiders.guider_utils")
    given, empty = answers()
    noises = [(X - d) / SIGMA for d in (given, empty)]
    theirs = noises[1] + 3.0 * (noises[0] - noises[1])
    ours = (X - ClassifierFree(3.0)(Labelled(), X, SIGMA, COND)) / SIGMA
    assert torch.allclose(ours, theirs, atol=1e-6)
    wanted = guiders.rescale_noise_cfg(theirs, noises[0], 0.7)
    scaled = (X - Rescaled(3.0, 0.7)(Labelled(), X, SIGMA, COND)) / SIGMA
    assert torch.allclose(scaled, wanted, atol=1e-6)


def test_an_interval_is_that_of_diffusers_over_the_same_steps() -> None:
    """Theirs is shares of the steps, ours noise levels; on one grid both guide the same steps."""
    theirs = pytest.importorskip("diffusers.guiders").ClassifierFreeGuidance(
        3.0, start=0.2, stop=0.6
    )
    levels = [10.0, 5.0, 2.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02]  # steps 2 .. 5 are guided
    ours = guided(Labelled(), [Interval(3.0, low=0.2, high=2.0)])
    for step, level in enumerate(levels):
        sigma = torch.tensor(level, dtype=torch.float64)
        given, empty = (Labelled()(X, sigma, cond) for cond in (COND, None))
        theirs.set_state(step, len(levels), sigma)
        wanted = theirs.forward((X - given) / sigma, (X - empty) / sigma).pred
        before = ours.evaluations
        answer = (X - ours(X, sigma, COND)) / sigma
        assert torch.allclose(answer, wanted, atol=1e-6)
        assert ours.evaluations - before == 3 * theirs.num_conditions
