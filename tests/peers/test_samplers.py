"""Each row of the table of samplers against the peer of that name: equal, or off by the number that
the table says.

Equal are the cases of ``test_diffusers`` and ``test_k_diffusion``; here they are counted, and what
those leave out is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sde_diffusion.config import groups, samplers
from sde_diffusion.solvers.base import Solver
from tests.peers import test_k_diffusion
from tests.peers.conftest import SIGMA, TOLERANCE, Trajectory, distance, draws, network, ours

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [peers]")
from tests.peers import test_diffusers  # noqa: E402
from tests.peers.test_diffusers import ABOVE_0, THIRD, UNCLIPPED, UNIPC, Peer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
STEPS = 12
# What else a peer is told, by the name that the table has for it.
OPTIONS: dict[str, dict[str, Any]] = {
    "DDIMScheduler": UNCLIPPED,
    "DDPMScheduler": UNCLIPPED,
    "DPMSolverMultistepScheduler sde-dpmsolver++": {"algorithm_type": "sde-dpmsolver++"},
    "DPMSolverMultistepScheduler solver_order=3": THIRD,
    "UniPCMultistepScheduler solver_order=3": THIRD,
}
VARIANCE_EXPLODING = ("Euler", "EulerAncestral", "Heun", "KDPM2", "LMS")
METHODS = samplers.table()[0]


def solver_of(method: samplers.NamedPart) -> Solver:
    made: Solver = groups.make("solver", str(method.choice), **method.fields)
    return made


def of_diffusers(method: samplers.NamedPart, name: str, patch: pytest.MonkeyPatch) -> float:
    cls = name.split()[0]
    exploding = cls.removesuffix("DiscreteScheduler") in VARIANCE_EXPLODING
    calls = 2 if "Heun" in cls else 1
    noisy = exploding and cls != "HeunDiscreteScheduler"
    given = OPTIONS.get(name, {})
    sde = SIGMA if exploding else Peer(cls).sde
    peer = Peer(cls, given, sde=sde, calls=calls, epsilon=noisy)
    noises = draws(STEPS)
    theirs = peer.run(STEPS, noises, patch)
    return distance(ours(solver_of(method), sde, theirs.levels, noises, theirs.whole), theirs, sde)


def of_k_diffusion(
    method: samplers.NamedPart, name: str, sampling: Any, patch: pytest.MonkeyPatch
) -> float:
    noises = draws(STEPS)
    theirs = test_k_diffusion.run(sampling, name, noises, patch)
    return distance(ours(solver_of(method), SIGMA, theirs.levels, noises), theirs, SIGMA)


@torch.no_grad()
def dpm2_of_diffusers() -> float:
    """Its list of levels has those of the stages between."""
    scheduler = diffusers.KDPM2DiscreteScheduler(prediction_type="epsilon")
    scheduler.set_timesteps(STEPS)
    sigmas = scheduler.sigmas.double().tolist()
    levels = [sigmas[0], *sigmas[1 : 2 * STEPS - 1 : 2]]
    stages = scheduler.sigmas_interpol.double()
    (start, *_) = noises = draws(STEPS)
    states = [x := start * levels[0]]
    for i, t in enumerate(scheduler.timesteps):
        level = levels[i // 2] if i % 2 == 0 else float(stages[i])
        scheduler.is_scale_input_called = True
        output = (x - network(x, torch.tensor(level))) / level
        x = scheduler.step(output, t, x).prev_sample.double()
        if i % 2:
            states.append(x)
    theirs = Trajectory(levels, states[: len(levels)], x)
    method = next(each for each in METHODS if each.name == "DPM2")
    return distance(ours(solver_of(method), SIGMA, levels, noises), theirs, SIGMA)


@torch.no_grad()
def image_of_pndm() -> float:
    """The image alone: its walk has one evaluation more."""
    scheduler = diffusers.PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=True)
    scheduler.set_timesteps(STEPS)
    a = scheduler.alphas_cumprod.double()
    told = scheduler.timesteps.tolist()
    (start, *_) = noises = draws(STEPS)
    x = start * float((1 - a[told[0]]).sqrt())
    for t in told:
        level = ((1 - a[t]) / a[t]).sqrt()
        y = x / a[t].sqrt()
        x = scheduler.step((y - network(y, level)) / level, t, x).prev_sample.double()
    numbers = sorted(set(told), reverse=True)
    levels = ((1 - a[numbers]) / a[numbers]).sqrt().tolist()
    method = next(each for each in METHODS if each.name == "PLMS")
    sde = test_diffusers.VARIANCE_PRESERVING
    return float((ours(solver_of(method), sde, levels, noises).image - x).abs().max())


def bh1(patch: pytest.MonkeyPatch) -> float:
    """Above zero: at zero its own step is not finite."""
    peer = Peer(UNIPC, {**THIRD, **ABOVE_0, "solver_type": "bh1"})
    noises = draws(STEPS)
    theirs = peer.run(STEPS, noises, patch)
    method = next(each for each in METHODS if each.name == "UniPC")
    return distance(
        ours(solver_of(method), peer.sde, theirs.levels, noises, theirs.whole), theirs, peer.sde
    )


# Gaps that the table states, by the first name of the row.
GAPS: dict[str, Callable[[Any, pytest.MonkeyPatch], float]] = {
    "LMS": lambda sampling, patch: test_k_diffusion.lms_gaps(4, sampling, patch)[0],
    "DPM++ SDE": lambda sampling, patch: test_k_diffusion.dpmpp_sde_gaps(sampling, patch)[0],
    "UniPC": lambda sampling, patch: bh1(patch),
    "PLMS": lambda sampling, patch: image_of_pndm(),
    "DEISMultistepScheduler": lambda sampling, patch: test_diffusers.deis_gaps(2, patch)[0],
    "deis": lambda sampling, patch: test_diffusers.deis_gaps(3, patch)[0],
}
# Rows whose peers are those of a gap.
ELSEWHERE = ("LMS", "DPM++ SDE", "PLMS", "DEISMultistepScheduler", "deis")
NAMED = [
    pytest.param(method, program, name, id=name)
    for method in METHODS
    for program in ("diffusers", "k_diffusion")
    for name in method.names[program]
    if method.name not in ELSEWHERE
]


@pytest.mark.parametrize(("method", "program", "name"), NAMED)
def test_a_row_is_its_peer(
    method: samplers.NamedPart,
    program: str,
    name: str,
    sampling: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if program == "k_diffusion":
        gap = of_k_diffusion(method, name, sampling, monkeypatch)
    elif name == "KDPM2DiscreteScheduler":
        gap = dpm2_of_diffusers()
    else:
        gap = of_diffusers(method, name, monkeypatch)
    assert gap < TOLERANCE


@pytest.mark.parametrize("name", GAPS)
def test_a_row_that_is_not_says_by_how_much(
    name: str, sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = next(each for each in METHODS if each.name == name)
    assert method.gap == pytest.approx(GAPS[name](sampling, monkeypatch), rel=0.05)


def test_every_row_with_a_gap_is_measured() -> None:
    assert {method.name for method in METHODS if method.gap is not None} == set(GAPS)
