"""The two checks beside the interval: a bootstrap over seed blocks, and FID-infinity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.bootstrap import bootstrap_error
from sde_diffusion.metrics.extrapolation import fd_infinity
from sde_diffusion.metrics.frechet import Reference, frechet_distance, frechet_of_features, root_of
from sde_diffusion.metrics.inference import debiased
from sde_diffusion.metrics.stats import FeatureStats

from .gaussians import D, covariance, generator, stats_of, transported

DIM = 6
COV_0 = covariance(DIM, 30.0, 1)
COV, CROSS = transported(COV_0, 2, spread=3.0)
TRUE = float(COV.trace() + COV_0.trace() - 2 * CROSS)
ROOT = root_of(COV)
REFERENCE = Reference.from_stats(stats_of(COV_0, torch.zeros(DIM, dtype=D), 10**9))


def sample(n: int, g: torch.Generator) -> Tensor:
    return torch.randn(n, DIM, dtype=D, generator=g) @ ROOT.T


def test_the_bootstrap_agrees_with_the_jackknife_and_with_the_spread() -> None:
    g, rows = generator(3), []
    for seed in range(40):
        x = sample(1000, g)
        jackknife = debiased(x, REFERENCE).standard_error
        boot = bootstrap_error(x, REFERENCE, blocks=50, replicates=100, seed=seed)
        rows.append([boot, jackknife, frechet_of_features(x, REFERENCE).value])
    table = torch.tensor(rows, dtype=D)
    boot, jackknife, _ = table.mean(0).tolist()
    assert boot == pytest.approx(jackknife, rel=0.1)
    # 40 replicates know their standard deviation to 11 %.
    assert boot == pytest.approx(float(table[:, 2].std()), rel=0.33)


def with_replacement(x: Tensor, reference: Reference, seed: int) -> float:
    """Efron's bootstrap over 50 blocks: the known wrong way, where a block counts twice."""
    g, parts = generator(seed), x.tensor_split(50)
    values = [
        frechet_of_features(
            torch.cat([parts[b] for b in torch.randint(50, (50,), generator=g)]), reference
        ).value
        for _ in range(50)
    ]
    return float(torch.tensor(values, dtype=D).std())


def test_blocks_that_repeat_are_seen_near_the_reference() -> None:
    """N = 10 d; means over 6 samples, each of 50 replicates: known to 4 %."""
    cov_0 = covariance(32, 30.0, 1)
    cov, _ = transported(cov_0, 2, spread=1.3)
    reference = Reference.from_stats(stats_of(cov_0, torch.zeros(32, dtype=D), 10**9))
    g, rows = generator(9), []
    for seed in range(6):
        x = torch.randn(320, 32, dtype=D, generator=g) @ root_of(cov).T
        jackknife = debiased(x, reference).standard_error
        ours = bootstrap_error(x, reference, replicates=50, seed=seed)
        rows.append([ours, with_replacement(x, reference, seed), jackknife])
    ours, wrong, jackknife = torch.tensor(rows, dtype=D).mean(0).tolist()
    assert ours == pytest.approx(jackknife, rel=0.12)
    assert wrong > 1.3 * jackknife


def test_merged_blocks_are_the_samples_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics of one replicate, against those of the rows it kept."""
    x, seen = sample(103, generator(4)), []
    monkeypatch.setattr(
        "sde_diffusion.metrics.bootstrap.frechet_distance",
        lambda stats, reference: seen.append(stats) or frechet_distance(stats, reference),
    )
    bootstrap_error(x, REFERENCE, blocks=7, replicates=2, seed=5)
    drawn = torch.randperm(7, generator=generator(5))[:6]
    rows = torch.cat([x.tensor_split(7)[b] for b in drawn])
    true = FeatureStats.of(rows)
    assert seen[0].n == true.n
    torch.testing.assert_close(seen[0].mean, true.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(seen[0].M2, true.M2, rtol=1e-11, atol=1e-11)


def test_extrapolation_removes_most_of_the_bias_and_spreads_more() -> None:
    g, rows = generator(6), []
    for seed in range(200):
        x = sample(40 * DIM, g)
        plug_in, ours = frechet_of_features(x, REFERENCE).value, debiased(x, REFERENCE).value
        rows.append([plug_in, fd_infinity(x, REFERENCE, seed=seed), ours])
    plug_in, extrapolated, ours = torch.tensor(rows, dtype=D).T
    bias = float(plug_in.mean()) - TRUE
    assert abs(float(extrapolated.mean()) - TRUE) < 0.5 * bias
    assert float(extrapolated.std()) > 1.05 * float(ours.std())


def test_a_straight_line_is_read_off_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def __init__(self, n: int) -> None:
            self.value = 3 + 50 / n

    monkeypatch.setattr(
        "sde_diffusion.metrics.extrapolation.frechet_of_features", lambda x, _: Point(len(x))
    )
    assert fd_infinity(sample(500, generator(7)), REFERENCE) == pytest.approx(3, abs=1e-10)


def test_wrong_inputs_are_refused() -> None:
    x = sample(100, generator(8))
    with pytest.raises(InputError, match="blocks=101"):
        bootstrap_error(x, REFERENCE, blocks=101)
    with pytest.raises(InputError, match="one extractor"):
        bootstrap_error(x[:, :3], REFERENCE)
    with pytest.raises(InputError, match="points=1"):
        fd_infinity(x, REFERENCE, points=1)
