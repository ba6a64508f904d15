"""Likelihood against densities known in closed form, on every SDE, and the task."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.guidance import Clip, Guided
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.likelihood import (
    Likelihood,
    bits_per_dim,
    dequantise,
    isotropic,
    moment_matched,
)
from tests.conftest import Run
from tests.refusals import refused
from tests.solvers.conftest import MEAN, SDES, VARIANCE, gaussian, mixture

F64 = torch.float64
LOW = torch.tensor(0.002, dtype=F64)


def moments(target: MixtureDenoiser) -> tuple[Tensor, Tensor]:
    mean = (target.weights[:, None] * target.means).sum(0)
    apart = target.means - mean
    second = torch.diag_embed(target.variances) + apart[:, :, None] * apart[:, None]
    return mean, (target.weights[:, None, None] * second).sum(0)


def drawn(n: int = 100) -> Tensor:
    """Exact draws of the mixture at the least noise level."""
    generator = torch.Generator().manual_seed(1)
    x = mixture().sample(n, generator)
    return x + LOW * torch.randn(x.shape, generator=generator, dtype=F64)


def errors(found: Tensor, x: Tensor) -> Tensor:
    return ((found - mixture().log_prob(x, LOW)) / x.shape[1] / math.log(2)).abs()


@pytest.mark.parametrize("sde", SDES)
def test_a_mixture_on_every_sde(sde: str) -> None:
    """At most 2e-4 bits a dimension off log p at sigma_min, for at most 150 evaluations."""
    target, x = mixture(), drawn()
    prior = moment_matched(*moments(target))
    found = Likelihood.build(SDES[sde], target, prior, 0.002, 80.0, error=2e-4)(x)
    assert float(errors(found.log_p, x).max()) < 2e-4
    assert found.evaluations <= 150
    assert found.products == 4 * found.evaluations
    assert target.evaluations == found.evaluations * len(x)
    assert (found.standard_error == 0).all()


def test_the_request_is_kept_and_the_isotropic_prior_has_a_floor() -> None:
    """95 % within the request; without the moments, what they make up for at sigma_T = 80."""
    x, target = drawn(), mixture()
    matched = moment_matched(*moments(target))
    for error in (1e-1, 1e-2, 1e-3, 1e-5):
        found = Likelihood.build(EDM(), target, matched, 0.002, 80.0, error)(x)
        assert float(errors(found.log_p, x).quantile(0.95)) < error
    plain = Likelihood.build(EDM(), target, isotropic(4), 0.002, 5.0, 1e-5)(x)
    better = Likelihood.build(EDM(), target, matched, 0.002, 5.0, 1e-5)(x)
    assert float(errors(plain.log_p, x).max()) > 10 * float(errors(better.log_p, x).max()) > 0


def test_a_gaussian_that_is_its_own_reference_costs_next_to_nothing() -> None:
    """Nothing is left to integrate: exact to rounding, within four steps."""
    basis = torch.linalg.qr(torch.randn(4, 4, dtype=F64))[0]
    target = GaussianDenoiser(VARIANCE, MEAN, basis)
    covariance = basis @ torch.diag(VARIANCE) @ basis.T
    x = drawn(10)
    found = Likelihood.build(EDM(), target, moment_matched(MEAN, covariance), 0.002, 80.0)(x)
    law = torch.distributions.MultivariateNormal(MEAN, covariance + LOW**2 * torch.eye(4))
    assert torch.allclose(found.log_p, law.log_prob(x), rtol=0, atol=1e-9)
    assert found.evaluations <= 25


def test_hutchinson_errs_by_its_standard_error() -> None:
    """8 probes for each of 400 images: mean squared error over mean claimed variance, 1 +- 0.3."""
    x = drawn(400)
    prior = moment_matched(*moments(mixture()))
    build = Likelihood.build(EDM(), mixture(), prior, 0.002, 80.0, 1e-3, probes=8)
    found = build(x)
    exact = mixture().log_prob(x, LOW)
    off = found.log_p - exact
    claimed = found.standard_error.square().mean()
    assert float(off.square().mean() / claimed) == pytest.approx(1, abs=0.3)
    assert abs(float(off.mean())) < 5 * float(claimed / 400) ** 0.5
    assert found.products == 8 * found.evaluations
    one = Likelihood.build(EDM(), mixture(), prior, 0.002, 80.0, 1e-3, probes=1)(x[:2])
    assert one.standard_error.isnan().all()


@pytest.mark.parametrize("probes", [None, 3])
def test_an_image_does_not_depend_on_its_batch(probes: int | None) -> None:
    build = Likelihood.build(EDM(), mixture(), isotropic(4), 0.002, 80.0, 1e-2, probes)
    x = drawn(5)
    batch = build(x, [7, 8, 9, 10, 11])
    for k in (0, 4):
        alone = build(x[k : k + 1], [7 + k])
        assert torch.allclose(batch.log_p[k], alone.log_p[0], rtol=0, atol=1e-10)


def test_images_keep_their_shape_and_condition() -> None:
    """A denoiser of pictures, whose mean is its label: the density moves with it."""
    seen = []

    class Labelled(FunctionDenoiser):
        def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
            assert cond is not None
            seen.append(x.shape[1:])
            m = cond.parts["label"].value.to(x).reshape(-1, 1, 1, 1)
            return m + (x - m) / (1 + sigma**2)

    # The prior N(0, sigma_T^2) leaves the mean out: it must be small against sigma_T.
    target = Labelled(lambda x, sigma: x, (1, 2, 3), sigma_max=1e5)
    x = torch.zeros(2, 1, 2, 3)
    build = Likelihood.build(EDM(), target, isotropic(6), 0.01, 1e5, 1e-4)
    found = build(x, cond=Condition.label([0, 2])).log_p
    exact = torch.tensor([0.0, -0.5 * 6 * 4 / (1 + 1e-4)]) - 3 * math.log(2 * math.pi * (1 + 1e-4))
    assert torch.allclose(found, exact.double(), rtol=0, atol=6 * math.log(2) * 1e-3)
    assert set(seen) == {(1, 2, 3)}


def test_dequantised_grey_levels_and_their_offset() -> None:
    """Uniform images hold 8 bits a dimension; each image has its own uniform numbers."""
    images = torch.arange(256, dtype=torch.uint8).reshape(2, 1, 8, 16)
    x = dequantise(images, [3, 4])
    steps = (x + 1) * 128 - images
    assert 0 <= float(steps.min()) < 0.02 < 0.98 < float(steps.max()) < 1
    assert torch.equal(dequantise(images[1:], [4])[0], x[1])
    nats = torch.full((2,), -128 * math.log(2.0), dtype=F64)  # density 1 / 2 on -1 .. 1
    assert bits_per_dim(nats, 128).tolist() == [8.0, 8.0]


def test_what_cannot_be_asked_for() -> None:
    def asked(key: str, **options: float | None) -> None:
        chosen = {"sigma_min": 0.002, "sigma_max": 80.0, **options}
        with refused(key):
            Likelihood.build(EDM(), gaussian(), isotropic(4), **chosen)  # type: ignore[arg-type]

    asked("error=", error=0.0)
    asked("probes=", probes=0)
    asked("sigma_min=", sigma_min=0.0)
    asked("sigma_min=", sigma_min=90.0)
    with refused("sde: VE reaches"):
        Likelihood.build(SDES["ve"], gaussian(), isotropic(4), 0.002, 200.0)
    build = Likelihood.build(EDM(), gaussian(), isotropic(4), 0.002, 80.0)
    for wrong in (torch.zeros(2, 3), torch.zeros(0, 4), torch.full((1, 4), math.nan)):
        with refused("images"):
            build(wrong)
    with refused("guidance: clipped"):
        Likelihood.build(EDM(), Guided(gaussian(), Clip()), isotropic(4), 0.002, 80.0)


def test_the_task(quick_cli: Run, tmp_path: Path, tiny_model: str) -> None:
    """Bits a dimension with both standard errors; a second run reads the parts of the first."""
    words = ["likelihood", f"checkpoint={tiny_model}", "data=digits", "n=5", "batch_size=2",
             "probes=3", "error=0.1", "hydra.run.dir=out"]  # fmt: skip
    quick_cli(*words)
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["n"] == 5
    assert 0 < result["bits_per_dim"] < 100
    assert result["standard_error"] > result["hutchinson_standard_error"] > 0
    assert result["products"] == pytest.approx(3 * result["evaluations"])
    assert result["data"] == "digits-test"
    parts = sorted((tmp_path / "out/parts").iterdir())
    assert len(parts) == 3
    written = [part.stat().st_mtime_ns for part in parts]
    again = quick_cli(*words)
    assert "bits/dim" in again.stdout
    assert [part.stat().st_mtime_ns for part in parts] == written
    exact = quick_cli(*words, "probes=null", "prior=isotropic", "n=1", "label=null", "error=0.9")
    assert "1 image" in exact.stdout
    for wrong in ("prior=flat", "n=0", "n=1000", "data=mnist"):
        refused = quick_cli(*words, wrong, ok=False)
        assert wrong.split("=")[0] in refused.stderr, wrong
