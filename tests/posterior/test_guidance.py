"""Guidance by a measurement: exact where it should be, and DPS against the published loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion import operators
from sde_diffusion.conditions.condition import MEASUREMENT, Condition, Part
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import DPS, MMPS, TMPD, ClassifierFree, Guidance, PiGDM, guided
from sde_diffusion.guidance.dps import BETAS, LEVELS, published_beta
from sde_diffusion.operators import with_measurement
from sde_diffusion.process.sde import VP
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.step import Ask
from tests.posterior.problems import (
    DOUBLE,
    GAUSSIAN,
    MIXTURE,
    ROWS,
    condition,
    covariance,
    draws,
    measured,
    normal,
    tensor,
)

LEVEL = torch.tensor(0.7, dtype=DOUBLE)
A = tensor(ROWS.rows)
Y = tensor([0.4, -0.2])


def exact(x: Tensor, sigma: float) -> Tensor:
    """E[x_0 | x, y] of the Gaussian: y and x are measurements of it."""
    both = torch.cat([A / ROWS.noise, torch.eye(4, dtype=DOUBLE) / sigma])
    rows = [
        condition(GAUSSIAN.mean, covariance(), both, 1.0, torch.cat([Y / ROWS.noise, row / sigma]))
        for row in x
    ]
    return torch.stack([mean for mean, _, _ in rows])


def asked(guidance: Guidance, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
    return guided(GAUSSIAN, [guidance])(x, sigma, cond or measured(ROWS, Y, len(x)))


def test_mmps_is_exact_for_a_gaussian() -> None:
    x = normal(3, 4)
    assert torch.allclose(asked(MMPS(ROWS, 2), x, LEVEL), exact(x, 0.7), atol=1e-9)
    # One iteration of two that two measurements need is not.
    assert not torch.allclose(asked(MMPS(ROWS, 1), x, LEVEL), exact(x, 0.7), atol=1e-3)


def test_a_level_a_row_is_that_row_alone() -> None:
    x, levels = normal(3, 4), tensor([0.1, 0.7, 3.0])
    for guidance in (MMPS(ROWS, 2), PiGDM(ROWS), TMPD(ROWS), DPS(ROWS)):
        together = asked(guidance, x, levels)
        alone = [asked(guidance, x[i : i + 1], levels[i]) for i in range(3)]
        assert torch.allclose(together, torch.cat(alone), atol=1e-9), guidance


def test_pigdm_is_exact_for_independent_numbers_of_its_variance() -> None:
    prior = GaussianDenoiser(torch.full((4,), 0.6, dtype=DOUBLE))
    x, cond = normal(2, 4), measured(ROWS, Y, 2)
    answer = guided(prior, [PiGDM(ROWS, variance=0.6)])(x, LEVEL, cond)
    assert torch.allclose(answer, guided(prior, [MMPS(ROWS, 2)])(x, LEVEL, cond), atol=1e-9)


def test_tmpd_is_exact_for_a_mask_on_independent_numbers() -> None:
    prior = GaussianDenoiser(tensor([1.0, 0.5, 0.1, 0.02]))
    mask = operators.Random(0.5, noise=0.3)
    x = normal(2, 4)
    cond = with_measurement(mask.measure(normal(2, 4, seed=1)))
    answer = guided(prior, [TMPD(mask)])(x, LEVEL, cond)
    assert torch.allclose(answer, guided(prior, [MMPS(mask, 4)])(x, LEVEL, cond), atol=1e-9)


def test_a_flow_under_mmps_ends_in_the_posterior() -> None:
    """Heun's method with 40 steps: error about 1e-3 of the means; 4,000 draws: 0.016 sd."""
    mean, cov, _ = condition(GAUSSIAN.mean, covariance(), A, ROWS.noise, Y)
    x = draws(GAUSSIAN, Heun(), measured(ROWS, Y, 4000), 80, 4000, MMPS(ROWS, 2)).x
    assert torch.allclose(x.mean(0), mean, atol=0.05)
    assert torch.allclose(torch.cov(x.T), cov, atol=0.05)


def test_dps_is_the_published_loop_on_its_own_grid() -> None:
    """DDPM's loop of arXiv:2209.14687, algorithm 1 as its code has it, in DDPM's own scale."""
    first, scale, cond = 600, 0.4, measured(ROWS, Y, 2)
    alpha_bars = (1 - BETAS).cumprod(0)
    guidance, solver = guided(GAUSSIAN, [DPS(ROWS, scale)]), Ancestral()
    sde = VP()
    x = normal(2, 4)
    for i in range(first, first - 3, -1):
        z = normal(2, 4, seed=i)
        mine = _ancestral(guidance, solver, sde, x, i, z, cond, alpha_bars)
        x = _published(x, i, z, scale, alpha_bars)
        assert torch.allclose(mine, x, atol=1e-9)


def _published(x: Tensor, i: int, z: Tensor, scale: float, bars: Tensor) -> Tensor:
    beta, bar, before = BETAS[i], bars[i], bars[i - 1]
    x = x.clone().requires_grad_()
    level = ((1 - bar) / bar).sqrt()
    x_0 = GAUSSIAN(x / bar.sqrt(), level)
    norm = torch.linalg.norm(Y - x_0 @ A.T, dim=1).sum()
    (gradient,) = torch.autograd.grad(norm, x)
    mean = before.sqrt() * beta / (1 - bar) * x_0 + (1 - beta).sqrt() * (1 - before) / (1 - bar) * x
    noise = ((1 - before) / (1 - bar) * beta).sqrt() * z
    return (mean + noise - scale * gradient).detach()


def _ancestral(
    denoiser: object,
    solver: Ancestral,
    sde: VP,
    x: Tensor,
    i: int,
    z: Tensor,
    cond: Condition,
    bars: Tensor,
) -> Tensor:
    """One step of our solver between DDPM's levels i and i - 1, of three: none is the last."""

    class Given:
        def normal(self, t: float, s: float) -> Tensor:
            return z

    times = sde.time_at(LEVELS[[i, i - 1, i - 2]])
    ask = Ask(sde, denoiser, cond).along(times)  # type: ignore[arg-type]
    state = solver.init(ask, x, ask.steps)
    return solver.step(ask, x, ask.steps[0], state, Given())[0]  # type: ignore[arg-type]


def test_the_published_rate_is_read_at_its_levels() -> None:
    assert torch.allclose(published_beta(LEVELS[[0, 1, 500, 999]]), BETAS[[0, 1, 500, 999]])
    assert torch.allclose(published_beta(tensor([1e-4, 1e4])), BETAS[[0, 999]])


def test_backward_passes_are_counted_apart() -> None:
    cond = measured(ROWS, Y, 6)
    for guidance, passes in ((DPS(ROWS), 1), (PiGDM(ROWS), 1), (TMPD(ROWS), 2), (MMPS(ROWS, 3), 4)):
        found = draws(GAUSSIAN, Heun(), cond, 6, 6, guidance)
        assert (found.nfe, found.backward_passes) == (6, 6 * passes)
    assert draws(GAUSSIAN, Heun(), None, 6, 6).backward_passes == 0


def test_rows_without_a_measurement_are_not_guided_and_others_keep_theirs() -> None:
    part = measured(ROWS, Y, 3).parts[MEASUREMENT]
    keep = torch.tensor([True, False, True])
    cond = Condition({MEASUREMENT: Part(part.value, keep, fixed=True)})
    x = normal(3, 4)
    for guidance in (MMPS(ROWS), PiGDM(ROWS), TMPD(ROWS), DPS(ROWS)):
        answer = asked(guidance, x, LEVEL, cond)
        assert torch.allclose(answer[1], GAUSSIAN(x, LEVEL)[1])
        assert torch.allclose(answer[[0, 2]], asked(guidance, x, LEVEL)[[0, 2]])
        assert not torch.allclose(answer[0], GAUSSIAN(x, LEVEL)[0])


def test_a_measurement_stays_where_guidance_drops_the_label() -> None:
    cond = with_measurement(Y.expand(2, 2), Condition.label([1, -1]))
    both = guided(GAUSSIAN, [MMPS(ROWS), ClassifierFree(3.0)])
    x = normal(2, 4)
    assert torch.allclose(both(x, LEVEL, cond), asked(MMPS(ROWS), x, LEVEL))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (lambda: draws(GAUSSIAN, Heun(), None, 6, 2, DPS(ROWS)), r"guidance=dps: needs a meas"),
        (lambda: draws(GAUSSIAN, Heun(), Condition.label([1, 2]), 6, 2, MMPS(ROWS)),
         r"guidance=mmps: needs a measurement"),
        (lambda: asked(PiGDM(ROWS), normal(2, 4), LEVEL, measured(ROWS, Y[:1], 2)),
         r"guidance=pigdm: a measurement of shape \(1,\), where the operator measures \(2,\)"),
        (lambda: asked(TMPD(operators.Function(torch.abs, linear=False)), normal(2, 4), LEVEL,
                       measured(ROWS, normal(4), 2)), r"guidance=tmpd: needs a linear operator"),
        (lambda: DPS(ROWS, 0.0), r"guidance\.dps\.scale=0\.0"),
        (lambda: PiGDM(ROWS, -1.0), r"guidance\.pigdm\.variance=-1\.0"),
        (lambda: MMPS(ROWS, 0), r"guidance\.mmps\.iterations=0"),
    ],
)  # fmt: skip
def test_wrong_guidance_is_refused_by_name(case: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        case()  # type: ignore[operator]


def test_dps_takes_what_is_not_linear() -> None:
    """|x| measured: draws end at either sign of the truth."""
    sizes = operators.Function(torch.abs, linear=False, noise=0.05)
    y = tensor([1.0, 0.8])
    cond = with_measurement(y.expand(64, 2))
    x = draws(MIXTURE, Ancestral(), cond, 200, 64, DPS(sizes, 0.2)).x
    error = float((x.abs() - y).square().mean().sqrt())
    free = draws(MIXTURE, Ancestral(), None, 200, 64).x
    assert error < 0.7 * float((free.abs() - y).square().mean().sqrt())
