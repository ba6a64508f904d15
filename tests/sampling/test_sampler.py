"""The sampler: one image a seed, whatever the batch; evaluations counted at the network."""

from __future__ import annotations

import math
import re

import pytest
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.face.load import load, wrap
from sde_diffusion.face.model import Model
from sde_diffusion.guidance import ClassifierFree, Guided
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Brownian, Seeds
from sde_diffusion.process.sde import EDM, VP, RectifiedFlow
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.heun import Heun

F64 = Execution(dtype=torch.float64)
POINTS = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def sampler(**options: object) -> Sampler:
    return Sampler.build(EDM(), EmpiricalDenoiser(POINTS, 0.1), DDIM(), Karras(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("guided", "denoise_last", "nfe", "near"), [
    (False, False, 5, [4, 6]), (True, False, 10, [8, 12]), (False, True, 6, [5, 7]),
    (True, True, 12, [10, 14]), (False, True, 1, [3, 5]),
])  # fmt: skip
def test_a_refused_budget_names_those_that_the_user_may_give(
    guided: bool, denoise_last: bool, nfe: int, near: list[int]
) -> None:
    """In evaluations of the network, whatever guidance and a last denoising take of them."""
    inner = EmpiricalDenoiser(POINTS, 0.1)
    denoiser = Guided(inner, ClassifierFree()) if guided else inner
    s = Sampler.build(EDM(), denoiser, Heun(), Karras(), denoise_last=denoise_last)
    with pytest.raises(InputError, match=rf"^nfe={nfe}: .*; give one of {re.escape(str(near))}$"):
        s.steps(nfe)
    for n in near:
        drawn = s.sample(Request([0], n, Condition.label([0])), F64)
        assert drawn.nfe == n
    free = Sampler.build(EDM(), denoiser, DoPri(), Karras(), denoise_last=denoise_last)
    with pytest.raises(InputError, match=rf"^nfe={nfe}: .*solver\.error"):
        free.steps(nfe)


@pytest.mark.parametrize("noise", [Seeds(), Brownian()])
def test_sample_k_does_not_depend_on_its_batch(noise: Seeds) -> None:
    s = sampler(noise=noise)
    together = s.sample(Request(range(7), 6), Execution(64, torch.float64)).x
    for size in (1, 3):
        alone = s.sample(Request(range(7), 6), Execution(size, torch.float64)).x
        assert (alone - together).abs().max() <= 1e-10
    assert (s.sample(Request([5], 6), F64).x[0] - together[5]).abs().max() <= 1e-10


def test_through_the_network_in_float32() -> None:
    model = load("mnist")
    one = model.sample(n=3, nfe=4, label=[1, 2, 3], batch_size=1).x
    many = model.sample(n=3, nfe=4, label=[1, 2, 3], batch_size=64).x
    assert (one - many).abs().max() <= 1e-4


def test_a_bfloat16_network_draws_the_same_picture() -> None:
    full = load("mnist").sample(n=4, nfe=6, label=[1, 2, 3, 4]).x
    half = load("mnist", precision="bfloat16").sample(n=4, nfe=6, label=[1, 2, 3, 4]).x
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().mean() < 0.05


def test_nfe_is_counted_at_the_network() -> None:
    assert sampler().sample(Request([0, 1], 5), F64).nfe == 5
    drawn = sampler(denoise_last=True).sample(Request([0, 1], 5), F64)
    assert drawn.nfe == 5
    guided = Sampler.build(
        EDM(), Guided(load("mnist").denoiser, ClassifierFree(2.0)), DDIM(), Karras()
    )
    cond = load("mnist").condition({"label": 7}, [0, 1])
    assert guided.sample(Request([0, 1], 4, cond)).nfe == 4
    with pytest.raises(InputError, match="nfe=3"):
        guided.sample(Request([0, 1], 3, cond))


def test_the_same_model_under_any_sde_gives_the_same_sample() -> None:
    d = GaussianDenoiser(torch.tensor([1.0, 0.1], dtype=torch.float64))
    drawn = [
        Sampler.build(sde, d, DDIM(), Karras()).sample(Request([0, 1], 9), F64)
        for sde in (EDM(), VP(), RectifiedFlow())
    ]
    for other in drawn[1:]:
        assert (other.x - drawn[0].x).abs().max() <= 1e-9


def test_trajectory_runs_from_noise_to_image() -> None:
    drawn = sampler().sample(
        Request([0, 1, 2], 6), Execution(2, torch.float64), Watch(trajectory=True)
    )
    assert drawn.trajectory is not None
    assert drawn.times is not None
    assert drawn.trajectory.shape == (7, 3, 1, 4, 4)
    assert torch.equal(drawn.trajectory[-1], drawn.x)
    assert drawn.trajectory[0].std() > 10
    assert len(drawn.times) == 7


def test_the_models_training_range_is_not_left() -> None:
    model = load("mnist")
    with pytest.raises(InputError, match="training range"):
        model.sample(n=1, nfe=4, grid__sigma_min=0.0005)


def test_wrap_samples_from_a_callable() -> None:
    model = wrap(lambda x, sigma: x / (1 + sigma**2), shape=(2,))  # x_0 ~ N(0, I)
    x = model.sample(n=4000, nfe=40, batch_size=4000, dtype=torch.float64).x
    assert abs(float(x.var()) - 1) < 5 * (2 / 8000) ** 0.5 + 0.02


def test_labels_are_checked() -> None:
    model = Model(GaussianDenoiser(torch.ones(2)), "gauss")
    assert model.condition({"label": "all"}, [0, 1]) is None
    with pytest.raises(InputError, match="label=3"):
        model.condition({"label": 3}, [0])


def truncated(x: torch.Tensor) -> torch.Tensor:
    """The known wrong way to quantise: it darkens every image by half a grey level."""
    return ((x.to(torch.float64).clamp(-1, 1) + 1) * 127.5).to(torch.uint8)


def test_images_are_rounded_and_the_test_sees_truncation() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(50, 1, 28, 28, generator=generator) - 1

    def shift(images: torch.Tensor) -> float:
        """Mean error in grey levels; rounding has a standard error of 0.29 / sqrt(39200)."""
        return float((images.double() - (x.double() + 1) * 127.5).mean())

    assert abs(shift(Samples(x, tuple(range(50)), 1.0, 1.0).images)) < 5 * 0.29 / 39200**0.5
    assert shift(truncated(x)) == pytest.approx(-0.5, abs=0.01)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_states_that_are_not_finite_are_no_pictures(value: float) -> None:
    """Of images and of vectors; what the solver did is said, not what a pixel is."""
    for shape in ((3, 1, 2, 2), (3, 2)):
        x = torch.zeros(shape)
        x[1] = value
        drawn = Samples(x, (0, 1, 2), 1.0, 0.0)
        with pytest.raises(DivergedError, match=r"samples: 1 of 3 .* larger nfe"):
            drawn.check()
        with pytest.raises(DivergedError):
            _ = drawn.images
