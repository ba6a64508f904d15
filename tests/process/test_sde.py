"""The published drift, diffusion and marginals of the six processes, and their inverses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import EDM, SDE, VE, VP, CosineVP, RectifiedFlow, SubVP

F64 = torch.float64
SDES: dict[str, SDE] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "cosine": CosineVP(),
    "edm": EDM(),
    "flow": RectifiedFlow(),
}
TIMES = torch.tensor([1e-4, 0.003, 0.05, 0.3, 0.6, 0.9, 0.99], dtype=F64)


def beta(t: Tensor) -> Tensor:
    return 0.1 + t * (20.0 - 0.1)


def beta_cosine(t: Tensor) -> Tensor:
    """-2 d log(alpha) / dt of the cosine schedule."""
    return math.pi / 1.008 * torch.tan(math.pi / 2 * (t + 0.008) / 1.008)


def cosine(t: Tensor) -> Tensor:
    """cos(pi/2 (t + s) / (1 + s)), s = 0.008."""
    return torch.cos((t + 0.008) / 1.008 * math.pi / 2)


def growth(t: Tensor) -> Tensor:
    """exp(-2 int_0^t beta), of the sub-VP SDE."""
    return torch.exp(-2 * (0.1 * t + 0.5 * 19.9 * t**2))


# f and g^2 as their papers print them.
PUBLISHED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "vp": (lambda t: -beta(t) / 2, beta),
    "subvp": (lambda t: -beta(t) / 2, lambda t: beta(t) * (1 - growth(t))),
    "ve": (torch.zeros_like, lambda t: 0.002**2 * 50000.0 ** (2 * t) * 2 * math.log(50000.0)),
    "cosine": (lambda t: -beta_cosine(t) / 2, beta_cosine),
    "edm": (torch.zeros_like, lambda t: 2 * t),
    "flow": (lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
}
# alpha and sigma^2 likewise; VP and sub-VP at beta 0.1 .. 20, VE at 0.002 .. 100.
MARGINALS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "vp": (
        lambda t: torch.exp(-0.25 * t**2 * 19.9 - 0.5 * t * 0.1),
        lambda t: 1 - torch.exp(-0.5 * t**2 * 19.9 - t * 0.1),
    ),
    "subvp": (
        lambda t: torch.exp(-0.25 * t**2 * 19.9 - 0.5 * t * 0.1),
        lambda t: (1 - torch.exp(-0.5 * t**2 * 19.9 - t * 0.1)) ** 2,
    ),
    "ve": (torch.ones_like, lambda t: (0.002 * (100 / 0.002) ** t) ** 2),
    "cosine": (
        lambda t: cosine(t) / cosine(torch.tensor(0.0, dtype=F64)),
        lambda t: 1 - (cosine(t) / cosine(torch.tensor(0.0, dtype=F64))) ** 2,
    ),
    "edm": (torch.ones_like, lambda t: t**2),
    "flow": (lambda t: 1 - t, lambda t: t**2),
}  # fmt: skip


@pytest.mark.parametrize("name", SDES)
def test_drift_and_diffusion_are_the_published_ones(name: str) -> None:
    f, g2 = PUBLISHED[name]
    assert torch.allclose(SDES[name].f(TIMES), f(TIMES), rtol=1e-9, atol=1e-12)
    assert torch.allclose(SDES[name].g2(TIMES), g2(TIMES), rtol=1e-9)


@pytest.mark.parametrize("name", SDES)
def test_marginals_are_the_published_ones(name: str) -> None:
    alpha, variance = MARGINALS[name]
    assert torch.allclose(SDES[name].alpha(TIMES), alpha(TIMES), rtol=1e-12)
    # The printed 1 - alpha^2 itself loses digits near t = 0.
    assert torch.allclose(SDES[name].sigma(TIMES) ** 2, variance(TIMES), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", SDES)
def test_marginals_solve_their_moment_equations(name: str) -> None:
    """d(sigma^2)/dt = 2 f sigma^2 + g^2, by central differences of step 1e-5 t (error 1e-8)."""
    sde, t = SDES[name], TIMES[1:-1]
    h = 1e-5 * t
    rate = (sde.sigma(t + h) ** 2 - sde.sigma(t - h) ** 2) / (2 * h)
    assert torch.allclose(rate, 2 * sde.f(t) * sde.sigma(t) ** 2 + sde.g2(t), rtol=1e-7)


@pytest.mark.parametrize("name", SDES)
def test_time_inverts_lam_and_the_noise_level(name: str) -> None:
    """To 1e-12 in log level, over noise levels 1e-4 .. 80 (VE from its own sigma_min)."""
    sde = SDES[name]
    levels = torch.logspace(-2.69 if name == "ve" else -4, math.log10(80), 200, dtype=F64)
    t = sde.time_at(levels)
    assert bool((t[1:] > t[:-1]).all())
    assert float((sde.lam(t) + levels.log()).abs().max()) < 1e-12
    assert float((sde.noise_level(t) / levels - 1).abs().max()) < 1e-12
    assert torch.allclose(sde.time(sde.lam(TIMES)), TIMES, rtol=1e-11)


def test_a_level_out_of_reach_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"VE reaches noise level 100, not 200.*grid\.sigma_max"):
        VE().time_at(torch.tensor(200.0, dtype=F64))


@pytest.mark.parametrize("name", SDES)
def test_perturbed_data_follow_the_marginal(name: str) -> None:
    """40,000 draws at each of two times: mean and variance within 5 standard errors."""
    sde, n = SDES[name], 40000
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([0.2, 0.7], dtype=F64).repeat_interleave(n)
    x_0 = torch.full((2 * n, 1), 1.5, dtype=F64)
    x = sde.perturb(x_0, t, torch.randn(2 * n, 1, generator=generator, dtype=F64)).reshape(2, n)
    alpha, sigma = sde.alpha(t[[0, -1]]), sde.sigma(t[[0, -1]])
    assert float(((x.mean(1) - 1.5 * alpha) / sigma).abs().max()) < 5 / n**0.5
    assert float((x.var(1) / sigma**2 - 1).abs().max()) < 5 * (2 / n) ** 0.5


def test_perturb_takes_one_time_or_one_a_row_and_keeps_the_dtype() -> None:
    sde, x_0, noise = VP(), torch.ones(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    t = torch.tensor([0.1, 0.8], dtype=F64)
    rows = sde.perturb(x_0, t, noise)
    assert rows.dtype == torch.float32
    for k in (0, 1):
        assert torch.equal(rows[k], sde.perturb(x_0, t[k], noise)[k])
    expected = sde.sigma(t[1]).float() * 0.5
    assert torch.equal(sde.prior(noise, t[1]), expected.expand(2, 1, 2, 2))


@torch.no_grad()
def test_coefficients_need_no_gradient_mode() -> None:
    assert not VP().f(TIMES).requires_grad
    with torch.inference_mode():
        assert torch.equal(VP().g2(TIMES), VP().g2(TIMES.clone()))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: VP(beta_min=0.0), "beta_min"),
        (lambda: SubVP(beta_min=30.0), "beta_min"),
        (lambda: VE(sigma_min=-1.0), "sigma_min"),
        (lambda: VE(sigma_min=200.0), "sigma_min"),
        (lambda: CosineVP(s=1.0), "s"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(make: Callable[[], SDE], field: str) -> None:
    with pytest.raises(InputError, match=rf"^sde\.{field}="):
        make()
