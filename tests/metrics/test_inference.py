"""Bias and interval of a Fréchet distance, by their law over replicates of known Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.frechet import Reference, frechet_distance, frechet_of_features, root_of
from sde_diffusion.metrics.inference import (
    GAUSSIAN,
    MEASURED,
    Z95,
    Inference,
    debiased,
    paired_difference,
    samples_to_settle,
)
from sde_diffusion.metrics.stats import FeatureStats

from .gaussians import D, covariance, generator, rectified, stats_of, transported

DIM, REPLICATES = 8, 300
COV_0 = covariance(DIM, 30.0, 1)
COV, CROSS = transported(COV_0, 2, spread=2.0)
TRUE = float(COV.trace() + COV_0.trace() - 2 * CROSS + 0.01 * DIM)
ROOT_0, ROOT = root_of(COV_0), root_of(COV)


def gaussian(n: int, g: torch.Generator) -> Tensor:
    return torch.randn(n, DIM, dtype=D, generator=g)


def skewed(n: int, g: torch.Generator) -> Tensor:
    """Unit exponentials less one: covariance I, fourth moment 9."""
    return torch.empty(n, DIM, dtype=D).exponential_(1.0, generator=g) - 1


@dataclass
class Found:
    """Over replicates: mean of plug-in and bias-removed value, coverage, mean error, true error."""

    plug_in: float
    value: float
    coverage: float
    error: float
    spread: float


def replicate(law: object, n: int, n_0: int, keep: bool) -> Found:
    g, rows = generator(3), []
    for _ in range(REPLICATES):
        x = law(n, g) @ ROOT.T + 0.1  # type: ignore[operator]
        x_0 = law(n_0, g) @ ROOT_0.T  # type: ignore[operator]
        reference = Reference.from_stats(FeatureStats.of(x_0))
        found = debiased(x, reference, x_0 if keep else None)
        assert found.note.startswith(MEASURED if keep else GAUSSIAN)
        low, high = found.interval or (0.0, 0.0)
        plain = frechet_of_features(x, reference).value
        rows.append([plain, found.value, float(low <= TRUE <= high), found.standard_error])
    table = torch.tensor(rows, dtype=D)
    return Found(*table.mean(0).tolist(), spread=float(table[:, 1].std()))


# The distance is so well known that the plug-in's bias is several standard errors of the mean.
CASES = {
    "Gaussian, reference in closed form": (gaussian, 200, 2000, False),
    "Gaussian, small reference": (gaussian, 400, 200, False),
    "Gaussian, features of the reference": (gaussian, 400, 200, True),
    "skewed, features of the reference": (skewed, 800, 400, True),
}


@pytest.mark.parametrize("case", CASES)
def test_bias_is_removed_and_the_interval_covers(case: str) -> None:
    found = replicate(*CASES[case])
    bias = found.plug_in - TRUE
    assert bias > 5 * found.spread / REPLICATES**0.5
    assert abs(found.value - TRUE) < 0.25 * bias
    # 300 replicates of a 95 % interval: binomial standard deviation 1.3 %.
    assert 0.90 <= found.coverage <= 0.995
    assert found.error == pytest.approx(found.spread, rel=0.2)


def delta_method(x: Tensor, reference: Reference) -> tuple[float, float]:
    """Value and error by the first two derivatives at the estimate, the reference exact."""
    mean, cov, n = x.mean(0), x.T.cov(), len(x)
    values, vectors = torch.linalg.eigh(reference.root.T @ cov @ reference.root)
    s, centred = values.sqrt(), x - mean
    y2 = (centred @ reference.root @ vectors).square()
    influence = 2 * centred @ (mean - reference.mean) + centred.square().sum(1) - y2 @ (1 / s)
    fourth = y2.T @ y2 / n - torch.diag(values**2)
    bias = cov.trace() + 0.5 * (fourth / (s[:, None] * s * (s[:, None] + s))).sum()
    plug_in = frechet_of_features(x, reference).value
    return plug_in - float(bias) / n, float(influence.std()) / n**0.5


@pytest.mark.parametrize("law", [gaussian, skewed])
def test_at_five_d_the_interval_covers_and_the_delta_method_is_seen_to_be_narrow(
    law: object,
) -> None:
    g, n, rows = generator(13), 5 * DIM, []
    reference = Reference.from_stats(stats_of(COV_0, torch.zeros(DIM, dtype=D), 10**9))
    for _ in range(1000):
        x = law(n, g) @ ROOT.T + 0.1  # type: ignore[operator]
        found, (value, error) = debiased(x, reference), delta_method(x, reference)
        low, high = found.interval or (0.0, 0.0)
        rows.append([low <= TRUE <= high, abs(value - TRUE) <= Z95 * error])
    ours, delta = torch.tensor(rows).double().mean(0).tolist()
    # 1000 replicates: binomial standard deviation 0.7 %.
    assert 0.92 <= ours <= 0.999
    assert delta < ours - 0.02


def relu(scale: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Mixing matrix of ReLU features, and their moments."""
    mix = scale * torch.randn(DIM, 5, dtype=D, generator=generator(20))
    mix += 0.3 * torch.randn(DIM, 5, dtype=D, generator=generator(21))
    return mix, rectified(mix)


@pytest.mark.parametrize("family", ["ReLU features", "S = S_0"])
@pytest.mark.parametrize("ratio", [5, 10])
def test_coverage_with_a_finite_reference(family: str, ratio: int) -> None:
    """The reference is drawn anew each time, as small as the sample."""
    mix_0, (mean_0, cov_0) = relu(1.0)
    mix, (mean, cov) = (mix_0, (mean_0, cov_0)) if family == "S = S_0" else relu(1.1)
    truth = Reference(mean_0, cov_0, 10**9, root_of(cov_0))
    true = frechet_distance(stats_of(cov, mean), truth).value
    g, n, rows = generator(22), ratio * DIM, []
    for _ in range(1000):
        x, x_0 = ((torch.randn(n, 5, dtype=D, generator=g) @ m.T).relu() for m in (mix, mix_0))
        reference = Reference.from_stats(FeatureStats.of(x_0))
        found = debiased(x, reference, x_0)
        low, high = found.interval or (0.0, 0.0)
        rows.append([frechet_of_features(x, reference).value, found.value, low <= true <= high])
    plug_in, value, coverage = torch.tensor(rows, dtype=D).mean(0).tolist()
    assert abs(value - true) < 0.05 * (plug_in - true)
    assert 0.92 <= coverage <= 0.999


def test_the_closed_form_is_seen_to_be_wrong_for_a_skewed_reference() -> None:
    measured, assumed = (replicate(skewed, 4000, 500, keep) for keep in (True, False))
    assert measured.error == pytest.approx(measured.spread, rel=0.15)
    assert assumed.error < 0.85 * assumed.spread
    assert assumed.coverage < measured.coverage


def test_shared_noise_narrows_a_difference_and_its_interval_covers() -> None:
    other, cross = transported(COV_0, 2, spread=1.8)
    true = TRUE - float(other.trace() + COV_0.trace() - 2 * cross + 0.01 * DIM)
    g, inside, errors, values, loose = generator(4), 0, [], [], []
    for _ in range(REPLICATES):
        noise = gaussian(400, g)
        a, b = noise @ ROOT.T + 0.1, noise @ root_of(other).T + 0.1
        # A reference this small carries an error that pairing does not remove.
        reference = Reference.from_stats(FeatureStats.of(gaussian(200, g) @ ROOT_0.T))
        found = paired_difference(a, b, reference)
        low, high = found.interval or (0.0, 0.0)
        inside += low <= true <= high
        errors.append(found.standard_error or 0.0)
        values.append(found.value or 0.0)
        loose.append(sum((debiased(x, reference).standard_error or 0.0) ** 2 for x in (a, b)))
    assert 0.90 <= inside / REPLICATES <= 0.995
    spread = float(torch.tensor(values).std())
    assert sum(errors) / REPLICATES == pytest.approx(spread, rel=0.2)
    assert sum(errors) < 0.5 * sum(v**0.5 for v in loose)


def test_a_solver_against_itself_differs_by_nothing() -> None:
    x = gaussian(100, generator(5))
    found = paired_difference(
        x, x, Reference.from_stats(FeatureStats.of(gaussian(500, generator(6))))
    )
    assert (found.value, found.standard_error) == (0.0, 0.0)


def test_pairs_with_the_references_features() -> None:
    g = generator(7)
    a, b, x_0 = gaussian(400, g) @ ROOT.T, gaussian(400, g), gaussian(400, g) @ ROOT_0.T
    reference = Reference.from_stats(FeatureStats.of(x_0))
    known, closed = (paired_difference(a, b, reference, r) for r in (x_0, None))
    assert MEASURED in known.note
    assert GAUSSIAN in closed.note
    assert known.standard_error == pytest.approx(closed.standard_error, rel=0.2)
    assert known.value == pytest.approx(closed.value, rel=0.05)


@pytest.mark.parametrize("n", [2, 5 * DIM - 1])
def test_withheld_below_five_d(n: int) -> None:
    x = gaussian(n, generator(8))
    reference = Reference.from_stats(FeatureStats.of(gaussian(500, generator(9))))
    for found in (debiased(x, reference), paired_difference(x, x, reference)):
        assert (found.value, found.standard_error, found.interval) == (None, None, None)
        assert f"N = {n} < 5 d = 40" in found.note


def test_interval_is_the_normal_one() -> None:
    assert Inference(1.0, 0.5, "").interval == pytest.approx((0.02002, 1.97998), abs=1e-5)


def test_dead_features_change_nothing() -> None:
    g = generator(10)
    x, x_0 = gaussian(200, g) @ ROOT.T, gaussian(400, g) @ ROOT_0.T
    plain = debiased(x, Reference.from_stats(FeatureStats.of(x_0)), x_0)
    wide, wide_0 = (torch.cat([v, torch.full((len(v), 4), 0.5)], dim=1) for v in (x, x_0))
    found = debiased(wide, Reference.from_stats(FeatureStats.of(wide_0)), wide_0)
    assert found.value == pytest.approx(plain.value, rel=1e-9)
    assert found.standard_error == pytest.approx(plain.standard_error, rel=1e-9)


def test_wrong_inputs_are_refused() -> None:
    x, reference = gaussian(100, generator(11)), Reference.from_stats(
        FeatureStats.of(gaussian(200, generator(12)))
    )  # fmt: skip
    with pytest.raises(InputError, match="one extractor"):
        debiased(x[:, :5], reference)
    with pytest.raises(InputError, match="features kept of 200"):
        debiased(x, reference, gaussian(201, generator(13)))
    with pytest.raises(InputError, match="no pairs"):
        paired_difference(x, x[:99], reference)
    with pytest.raises(InputError, match="99,"):
        debiased(x, reference, strata=torch.zeros(99))


def test_withheld_of_a_small_reference_and_of_a_lone_sample() -> None:
    x = gaussian(100, generator(14))
    small = Reference.from_stats(FeatureStats.of(gaussian(5 * DIM - 1, generator(15))))
    assert "reference of 39 < 5 d = 40" in debiased(x, small).note
    enough = Reference.from_stats(FeatureStats.of(gaussian(5 * DIM, generator(15))))
    assert debiased(x, enough).value is not None
    assert debiased(x, enough, strata=torch.arange(100) % 50).value is not None
    lone = debiased(x, enough, strata=torch.arange(100).clamp_max(1))
    assert (lone.value, lone.note) == (None, "interval withheld: a stratum has one sample")


def test_a_part_of_the_references_features_stands_for_all() -> None:
    """Bias of the reference side from 1000 of 4000: the linear part's noise must not enter."""
    g = generator(16)
    x, x_0 = skewed(400, g) @ ROOT.T + 0.1, skewed(4000, g) @ ROOT_0.T
    reference = Reference.from_stats(FeatureStats.of(x_0))
    whole, part = debiased(x, reference, x_0), debiased(x, reference, x_0[:1000])
    assert whole.value is not None
    assert part.value == pytest.approx(whole.value, abs=0.1 * whole.reference_error)
    assert part.reference_error == pytest.approx(whole.reference_error, rel=0.25)


def test_samples_to_settle() -> None:
    """At the number it names, the interval just leaves 0: error^2 = 0.3^2 100 / N + 0.1^2."""
    found = Inference(0.4, (0.3**2 + 0.1**2) ** 0.5, "", 100, 0.1)
    n = samples_to_settle(found)
    assert n is not None
    errors = [(0.3**2 * 100 / m + 0.1**2) ** 0.5 for m in (n, n - 1)]
    assert Z95 * errors[0] <= 0.4 < Z95 * errors[1]
    assert samples_to_settle(Inference(1.0, 0.1, "", 100, 0.05)) == 100
    assert samples_to_settle(Inference(1.0, 1.0, "", 100), z=3) == 900
    assert samples_to_settle(Inference(0.1, 0.2, "", 100, 0.1)) is None
    assert samples_to_settle(Inference(0.0, 0.0, "", 100)) is None
    assert samples_to_settle(Inference(None, None, "withheld", 100)) is None
