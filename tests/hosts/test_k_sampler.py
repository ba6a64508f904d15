"""Our solvers where a host calls ``sample(model, x, sigmas, ...)``: what our ``sample`` draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.hosts.k_sampler import KSampler
from sde_diffusion.solvers.base import Solver
from tests.peers.conftest import k_sampling, network

TOLERANCE = 1e-5
SHAPE = (3, 4, 4)
SOLVERS: dict[str, Solver] = {
    "ddim": sd.DDIM(), "unipc": sd.UniPC(3), "dpmpp_2m": sd.DPMpp2M(), "deis": sd.DEIS(),
    "heun": sd.Heun(), "dpm2": sd.DPM2(), "ipndm": sd.IPNDM(), "lms": sd.LMS(),
    "ancestral": sd.Ancestral(), "dpmpp_2m_sde": sd.DPMpp2MSDE(), "er_sde": sd.ERSDE(),
    "euler_maruyama": sd.EulerMaruyama(),
}  # fmt: skip
LEVELS = [*sd.Karras(sigma_min=0.03, sigma_max=14.6).times(sd.EDM(), 8).tolist(), 0.0]


def model(x: Tensor, sigma: Tensor, shift: float = 0.0) -> Tensor:
    """A host's network D(x, sigma), told one level a row."""
    assert sigma.shape == (len(x),)
    return network(x, sigma) + shift


def gap(name: str, rows: int) -> float:
    """Largest difference of a host's result from our own, over the largest."""
    solver, seeds = SOLVERS[name], list(range(5, 5 + rows))
    x = LEVELS[0] * sd.Seeds().start(seeds, SHAPE)
    hosted = KSampler(solver, seeds=5)(
        model, x, torch.tensor(LEVELS, dtype=torch.float64), {"shift": 0.1}, disable=True
    )
    denoiser = FunctionDenoiser(lambda x, sigma: network(x, sigma) + 0.1, SHAPE)
    own = sd.Model(denoiser, "own").sample(
        nfe=8 * solver.evaluations + 1, solver=solver, grid=LEVELS, seeds=seeds
    )
    return float((hosted - own.x).abs().max() / own.x.abs().max())


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_host_draws_what_sample_draws(name: str, rows: int) -> None:
    assert gap(name, rows) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "solver"), [("euler", sd.DDIM()), ("heun", sd.Heun()), ("dpmpp_2m", sd.DPMpp2M())]
)
def test_it_stands_in_for_k_diffusions_own(name: str, solver: Solver) -> None:
    """The same result, and the callback hears the same at the same levels."""
    peer = getattr(k_sampling(), f"sample_{name}")
    x, sigmas = LEVELS[0] * sd.Seeds().start([1, 2], SHAPE), torch.tensor(LEVELS)
    heard: list[list[dict[str, Any]]] = [[], []]
    theirs = peer(model, x, sigmas, {"shift": 0.1}, heard[0].append, True)
    ours = KSampler(solver)(model, x, sigmas, {"shift": 0.1}, heard[1].append, True)
    assert float((ours - theirs).abs().max()) < TOLERANCE * float(theirs.abs().max())
    assert [each["i"] for each in heard[1]] == [each["i"] for each in heard[0]]
    for one, other in zip(*heard, strict=True):
        assert float(one["sigma"]) == pytest.approx(float(other["sigma"]), rel=1e-6)
        assert torch.allclose(one["denoised"], other["denoised"], atol=1e-4)


def test_a_flow_begins_with_the_noise_itself() -> None:
    """x = (1 - t) x_0 + t n from t = 1: what ``sample`` draws on the same levels from infinity."""
    t = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.1, 0.0], dtype=torch.float64)

    def flow(x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x) * (1 - t / 2).reshape(-1, 1, 1, 1)

    n = sd.Seeds().start([3], SHAPE)
    hosted = KSampler(sd.DPMpp2M(), flow=True)(flow, n, t, disable=True)

    def image(x: Tensor, sigma: Tensor) -> Tensor:
        s = float(sigma[0])
        told = torch.ones(len(x)) if s == float("inf") else torch.full((len(x),), s / (1 + s))
        return flow(x if s == float("inf") else x / (1 + s), told)

    denoiser = FunctionDenoiser(image, SHAPE)
    denoiser.sigma_min, denoiser.sigma_max = 1e-6, float("inf")
    levels = [float("inf"), *(t / (1 - t))[1:].tolist()]
    own = sd.Model(denoiser, "own").sample(
        nfe=5, solver=sd.DPMpp2M(), grid=sd.Explicit(levels), seeds=[3]
    )
    assert float((hosted - own.x).abs().max()) < TOLERANCE


def test_a_part_of_a_walk_ends_where_the_levels_end() -> None:
    """Two samplers one after the other, as a host's advanced nodes run them."""
    sigmas, x = torch.tensor(LEVELS, dtype=torch.float64), LEVELS[0] * sd.Seeds().start([1], SHAPE)
    run = KSampler(sd.DDIM())
    halves = run(model, run(model, x, sigmas[:5], disable=True), sigmas[4:], disable=True)
    assert torch.allclose(halves, run(model, x, sigmas, disable=True), atol=1e-5)
    one = run(model, x, torch.tensor([LEVELS[0], 0.0]), disable=True)
    assert torch.allclose(one, model(x, torch.full((1,), LEVELS[0])))


def test_the_hosts_noise_is_taken_where_no_seeds_are_given() -> None:
    sigmas, x = torch.tensor(LEVELS), LEVELS[0] * sd.Seeds().start([1], SHAPE)
    asked: list[float] = []

    def sampler(sigma: Tensor, following: Tensor) -> Tensor:
        asked.append(float(sigma))
        return torch.zeros_like(x)

    KSampler(sd.Ancestral())(model, x, sigmas, disable=True, noise_sampler=sampler)
    assert asked == pytest.approx(LEVELS[: len(asked)], rel=1e-5)
    assert len(asked) >= 7
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(KSampler(sd.Ancestral())(model, x, sigmas, disable=True))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-2)


def test_a_name_of_other_programs_is_its_solver() -> None:
    x, sigmas = LEVELS[0] * sd.Seeds().start([1, 2], SHAPE), torch.tensor(LEVELS)
    named, own = (
        KSampler(solver, seeds=3)(model, x, sigmas, disable=True)
        for solver in ("Euler a", sd.Ancestral())
    )
    assert torch.equal(named, own)


def test_wrong_inputs_are_one_line() -> None:
    x = torch.zeros(2, *SHAPE)
    for run, words in (
        (lambda: KSampler(sd.DoPri()), "solver=DoPri: chooses its own levels"),
        (lambda: KSampler("unipcc"), "unipc"),
        (lambda: KSampler("DPM++ 2M Karras"), "give the method alone, 'DPM.. 2M'"),
        (lambda: KSampler("unipc", flow=True)(model, x, torch.tensor([14.0, 0.0])), "sigmas=14"),
        (lambda: KSampler("unipc", seeds=[1])(model, x, torch.tensor([2.0, 1, 0])), "seeds: 1 for"),
        (lambda: KSampler("unipc")(model, x, torch.tensor([1.0, 2, 0])), "strictly decreasing"),
        (lambda: KSampler("unipc")(model, x.numpy(), torch.ones(2)), "^x: ndarray; give"),
        (lambda: KSampler("unipc")(model, x, torch.ones(2, 2)), r"^sigmas: shape \(2, 2\); give"),
        (lambda: KSampler("unipc")(model, x, torch.ones(2), "seed=1"), "^extra_args='seed=1': giv"),
        (lambda: KSampler("unipc")(model, x, torch.ones(2), {}, 3), "^callback=3: give"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            run()
        assert "\n" not in str(refusal.value)


def test_what_a_host_writes_to_and_answers_in_does_no_harm() -> None:
    """It had the solver's own state, and its last answer stood in the place of the earlier."""
    x, sigmas = LEVELS[0] * sd.Seeds().start([1, 2], SHAPE), torch.tensor(LEVELS)
    buffer = torch.empty_like(x)

    def careless(x: Tensor, sigma: Tensor) -> Tensor:
        buffer.copy_(network(x, sigma))
        x.zero_(), sigma.zero_()
        return buffer

    for solver in (sd.UniPC(3), sd.Heun(), sd.DPMpp2M()):
        plain, written = (
            KSampler(solver)(each, x.clone(), sigmas, disable=True) for each in (model, careless)
        )
        assert torch.equal(plain, written)
    for answer in (lambda x, s: (x,), lambda x, s: x[:, :1], lambda x, s: {"sample": x}):
        with pytest.raises(InputError, match=r"model: it answered .*the shape of x"):
            KSampler("unipc")(answer, x, sigmas, disable=True)
