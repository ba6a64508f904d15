"""What has no effect in a sampler is said in a line; what has one is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sde_diffusion.config import groups
from sde_diffusion.face.load import load
from sde_diffusion.process.grids import Karras, Uniform
from sde_diffusion.sampling.asked import Rehearsal
from sde_diffusion.sampling.idle import idle_grid
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.system.notice import new_job
from tests.in_turn import InTurn
from tests.refusals import named

MODEL = load("mnist")


def said(capsys: pytest.CaptureFixture[str], **asked: Any) -> str:
    new_job()
    capsys.readouterr()
    MODEL.sample(n=1, **asked)
    return capsys.readouterr().err


@pytest.mark.parametrize(("asked", "line"), [
    ({"solver": "ddim", "nfe": 2, "noise": "brownian"}, 'noise="brownian": has no effect, ddim'),
    ({"solver": "langevin", "nfe": 2, "noise": "brownian"}, 'noise="brownian": has no effect'),
    ({"solver": "heun", "nfe": 4, "solver__s_noise": 1.1}, "solver__s_noise=1.1: has no effect"),
    ({"solver": "heun", "nfe": 10, "solver__s_churn": 9.0, "solver__s_tmin": 1.3,
      "solver__s_tmax": 1.31}, "solver__s_churn=9.0: has no effect"),
    ({"solver": "sa_solver", "nfe": 4, "solver__tau": 0.0, "solver__tau_max": 5.0},
     "solver__tau_max=5.0: has no effect"),
    ({"solver": "unipc", "nfe": 2, "solver__order": 3}, "solver__order=3: has no effect here"),
    ({"solver": "ddim", "grid": [5.0, 1.0, 0.0], "denoise_last": True},
     "denoise_last=True: has no effect"),
])  # fmt: skip
def test_a_part_without_effect_is_said(
    asked: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All drew what is drawn without it, and nothing said so."""
    heard = said(capsys, **asked)
    named(heard, line)
    vain = next(key for key in asked if line.startswith(f"{key}="))
    usual = {key: value for key, value in asked.items() if key != vain}
    assert torch.equal(MODEL.sample(n=1, **asked).x, MODEL.sample(n=1, **usual).x)


@pytest.mark.parametrize("asked", [
    {"solver": "ancestral", "nfe": 3, "noise": "brownian"},
    {"solver": "heun", "nfe": 6, "solver__s_churn": 9.0, "solver__s_noise": 1.1},
    {"solver": "unipc", "nfe": 5, "solver__order": 3},
    {"solver": "cfgpp", "nfe": 4, "label": 3, "solver__scale": 0.3},
    {"solver": "apg_momentum", "nfe": 4, "label": 3, "solver__momentum": -0.5},
    {"solver": "restart", "nfe": 24, "solver__s_noise": 1.003},
    {"solver": "predictor_corrector", "nfe": 4, "noise": "brownian"},
])  # fmt: skip
def test_what_has_an_effect_is_not_said(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, **asked) == ""


def test_of_a_grid_a_solver_of_its_own_steps_takes_the_ends() -> None:
    line = idle_grid(DoPri(), Uniform(), None)
    assert line is not None
    named(line, "grid=uniform", "dopri takes its own steps")
    assert idle_grid(DoPri(), Karras(rho=3.0), None) is not None
    assert idle_grid(DoPri(), Karras(sigma_max=40.0), None) is None
    brought = Uniform()  # by a model's files: nobody asked for it
    assert idle_grid(DoPri(), brought, brought) is None
    assert idle_grid(DDIM(), Uniform(), None) is None


def test_a_usual_sampler_is_not_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rehearsal, "__init__", None)
    for name in ("ddim", "heun", "unipc", "ancestral"):
        MODEL.sample(n=1, solver=name, grid=groups.brings("solver", name)["grid"], nfe=4)


def test_noise_of_somebody_s_own_is_drawn_once() -> None:
    """A rehearsal took draws of it, and the walk had others."""
    asked: dict[str, Any] = {"solver": "ancestral", "nfe": 3, "solver__eta": 0.9}
    count = 0

    def draw() -> torch.Tensor:
        nonlocal count
        count += 1
        return torch.full((1, 1, 28, 28), float(count))

    MODEL.sample(n=1, noise=InTurn(draw), x_T=torch.zeros(1, 1, 28, 28), **asked)
    assert count == 2  # one a step but for the last, which ends without noise
