"""The authors' samplers and ours, of one network and one noise, to 1e-4 of the largest value.

``record.py`` kept what theirs draw: EDM's with churn, score_sde's predictor-corrector and ODE.
EDM's Heun is in ``test_edm.py``, ADM's DDIM in ``test_adm.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import sde_diffusion
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.process.grids import Explicit, Karras, TimeGrid, Uniform
from sde_diffusion.process.sde import EDM, SDE, VE, VP, SubVP
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.sampling.start import FromNoise
from sde_diffusion.solvers.adaptive.scipy import SciPy
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.reverse_diffusion import ReverseDiffusion
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.wrappers.predictor_corrector import PredictorCorrector
from tests.in_turn import InTurn
from tests.models.foreign.drawn import Replay
from tests.models.foreign.files import edm_pickle
from tests.models.foreign.records import record, start
from tests.models.foreign.test_score_sde import file_of

SDES: dict[str, SDE] = {"vp": VP(), "subvp": SubVP(), "ve": VE(0.02, 100.0)}
LEAST = {"vp": 1e-3, "subvp": 1e-3, "ve": 1e-5}  # times at which score_sde ends


def replayed(unused: int = 0) -> InTurn:
    """The draws that the authors' code was given, in their order, after the first ``unused``."""
    draws = Replay(3)
    return InTurn(lambda: draws(start().shape), unused)


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Relative to the largest value of theirs."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def score_sde(tmp_path: Path, family: str) -> NetworkDenoiser:
    """The network of a recorded family, at any level: the walks of theirs end below its own."""
    path = file_of(tmp_path / "c.pth", f"score_{family}")
    denoiser = sde_diffusion.load(path, family=family, size=8).denoiser
    assert isinstance(denoiser, NetworkDenoiser)
    denoiser.sigma_min, denoiser.sigma_max = 1e-6, 1e3
    return denoiser


def noise_of(family: str) -> Tensor:
    """The noise n of the recorded start: VE's states 50 n of 0 .. 1 are 100 n - 1 of -1 .. 1."""
    return start() if family != "ve" else start() - 0.01


def drawn(
    family: str, denoiser: NetworkDenoiser, solver: Solver, grid: TimeGrid, nfe: int | None
) -> Tensor:
    """x_0 [2, 3, 8, 8] of the recorded start, on the scale of theirs."""
    sampler = Sampler.build(SDES[family], denoiser, solver, grid, replayed())
    x = sampler.sample(Request([0, 1], nfe, start=FromNoise(noise_of(family)))).x
    return (x + 1) / 2 if family == "ve" else x


def churn_gap(tmp_path: Path) -> float:
    """Eighteen levels, of which those from 50 to .05 are churned; theirs count the end, at 0."""
    denoiser = sde_diffusion.load(edm_pickle(tmp_path / "net.pkl", "edm_ddpmpp")).denoiser
    grid = Karras()
    grid.to_zero = True
    solver = Heun(s_churn=4, s_tmin=0.05, s_tmax=50, s_noise=1.003)
    # Theirs draw at every level; the first two, 80 and 57.6, are not churned.
    sampler = Sampler.build(EDM(), denoiser, solver, grid, replayed(2))
    cond = Condition.label([0, 1])
    x = sampler.sample(Request([0, 1], 35, cond, FromNoise(start()))).x
    return apart(x, record("edm_ddpmpp").tensors["churn"])


def test_our_churn_is_edms(tmp_path: Path) -> None:
    assert churn_gap(tmp_path) <= 1e-4


def corrector_gap(tmp_path: Path) -> float:
    """Of VE: twelve levels, a corrector and a predictor at each, the last predictor to zero."""
    levels = (0.02 * 5000 ** torch.linspace(1, 0, 12, dtype=torch.float64)).tolist()
    solver = PredictorCorrector(ReverseDiffusion(), Langevin(snr=0.16, norm="batch"))
    denoiser = score_sde(tmp_path, "ve")
    # Theirs are one step of t = 1e-5 off the table, 1e-4 of a level: not to be told apart here.
    x = drawn("ve", denoiser, solver, Explicit([*levels, 1e-6]), 24)
    return apart(x, record("score_ve").tensors["pc"])


def test_our_predictor_corrector_is_score_sdes(tmp_path: Path) -> None:
    assert corrector_gap(tmp_path) <= 1e-4


@pytest.mark.parametrize("family", ["vp", "subvp"])
@torch.no_grad()
def test_score_sdes_euler_maruyama_by_their_way(tmp_path: Path, family: str) -> None:
    """N steps of 1/N between N times 1 .. eps, which lie wider apart: ours take the true distance.

    So theirs is repeated on our drift.
    """
    ask, noise, n = Ask(SDES[family], score_sde(tmp_path, family)), Replay(3), 12
    x = start()
    for t in torch.linspace(1, LEAST[family], n):
        at = ask.at(float(t))
        mean = x - ask.drift(x.double(), at, eta=1.0) / n
        x = mean + (ask.g2(at) / n) ** 0.5 * noise(x.shape)
    assert apart(mean, record(f"score_{family}").tensors["pc"]) <= 1e-4


def flow_gap(tmp_path: Path, family: str) -> float:
    """scipy's RK45 of tolerance 1e-6 on both sides, in other variables; theirs one for a batch."""
    sde, least = SDES[family], LEAST[family]
    ends = sde.noise_level(torch.tensor([1.0, least], dtype=torch.float64)).tolist()
    grid = Uniform(sigma_min=ends[1], sigma_max=ends[0])
    solver = SciPy(rtol=1e-6, atol=1e-6)
    alpha = 1.0 if family == "ve" else float(sde.alpha(torch.tensor(least, dtype=torch.float64)))
    x = alpha * drawn(family, score_sde(tmp_path, family), solver, grid, None)
    return apart(x, record(f"score_{family}").tensors["ode"])


@pytest.mark.parametrize("family", ["vp", "subvp", "ve"])
def test_our_probability_flow_is_score_sdes(tmp_path: Path, family: str) -> None:
    assert flow_gap(tmp_path, family) <= 1e-4
