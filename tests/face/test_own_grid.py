"""A model that brings a grid is compared and calibrated on it, from where that grid begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion import Auto, Calibrated, Karras, compare, wrap
from sde_diffusion.calibration.trajectory import trajectories
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.face.model import Model
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.timesteps import ByTimestep, FlowShift
from tests.refusals import refused

SHAPE, SPREAD = (1, 8, 8), 0.7
TABLE = Timesteps(betas="scaled_linear", beta_start=0.00085, beta_end=0.012)
BETAS = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PIXELS = torch.randint(
    0, 256, (60, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
FEW: dict[str, Any] = {
    "nfe": [2], "noises": 16, "held_out": 4, "nodes": 24, "tries": 2, "budget": 2, "label": None,
    "progress": False,
}  # fmt: skip


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, SPREAD^2 I)."""
    return x * SPREAD**2 / (SPREAD**2 + sigma.view(-1, 1, 1, 1) ** 2)


def brought(grid: Any, **ends: float) -> Model:
    model = wrap(gaussian, SHAPE, name="toy", **ends)
    return replace(model, grid=grid)


@pytest.fixture
def stable() -> Model:
    grid = ByTimestep(BETAS, spacing="trailing", unit_variance=True)
    return brought(grid, sigma_min=TABLE.sigma_min, sigma_max=TABLE.sigma_max)


def test_a_comparison_walks_the_grid_of_the_model(
    stable: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"nfe": [4], "n": 20, "reference": PIXELS, "metrics": ()}
    table = compare(stable, progress=False, **asked)
    said = capsys.readouterr().err
    assert "heun is left out on the model's own grid: nfe=4" in said
    named = {row["solver"] for row in table}
    assert named == {"ddim", "dpmpp_2m", "unipc", "ancestral"}
    given = [{"own": {"solver": "ddim", "grid": stable.grid}}, {"karras": "ddim"}]
    same = compare(stable, [*given], progress=False, **asked)
    by = {row["solver"]: row["fd"] for row in [*table, *same]}
    assert by["own"] == by["karras"] == by["ddim"]
    other = compare(
        stable, ["ddim"], grid=Karras(sigma_min=0.05, sigma_max=14.0), progress=False, **asked
    )
    assert other[0]["fd"] != by["ddim"]


def test_a_calibration_begins_and_ends_where_the_grid_of_the_model_does(stable: Model) -> None:
    rule = stable.calibrate(**FEW)
    made = rule.calibration
    assert stable.grid is not None
    assert made.sigma_max == stable.grid.sigma_max
    assert made.sigma_min == pytest.approx(TABLE.sigma_min)
    assert made.start == stable.grid.start_factor(made.sigma_max) > 1.002
    # The flow of a Gaussian is one factor, from start sigma_max n to the image.
    low, high = SPREAD**2 + made.sigma_min**2, SPREAD**2 + made.sigma_max**2
    drawn = stable.sample(4, 2, solver=rule, seed=5).x
    n = Seeds().start(range(5, 9), SHAPE, torch.float32, torch.device("cpu"))
    flow = made.start * made.sigma_max * (low / high) ** 0.5
    assert (drawn - flow * n).abs().max() < 5e-3
    unscaled = stable.sample(4, 2, solver=Calibrated(replace(made, start=1.0)), seed=5).x
    assert (drawn - unscaled * made.start).abs().max() < 1e-4
    known = trajectories(stable.denoiser, [5], None, 4, 0.1, 14.0, 1, start=2.0)
    assert torch.equal(known.states[0], 2 * 14 * n[:1])


def test_the_start_is_kept_in_the_file(stable: Model, tmp_path: Path) -> None:
    rule = stable.calibrate(**FEW)
    rule.save(tmp_path / "few.safetensors")
    again = Calibrated(str(tmp_path / "few.safetensors"))
    assert again.calibration.start == rule.calibration.start
    x = stable.sample(2, 2, solver=rule).x
    assert torch.equal(stable.sample(2, 2, solver=again).x, x)


def test_a_walk_from_infinity_is_calibrated_from_the_usual_end() -> None:
    flow = brought(FlowShift(3.0), sigma_min=1e-6, sigma_max=float("1e9"))
    made = flow.calibrate(**FEW).calibration
    assert (made.sigma_min, made.sigma_max) == pytest.approx((0.002, 80.0))
    assert made.start == 1.0


def test_guidance_by_a_worse_model_is_opened_and_known_by_its_content(
    monkeypatch: pytest.MonkeyPatch, stable: Model
) -> None:
    worse = brought(None, sigma_min=TABLE.sigma_min, sigma_max=TABLE.sigma_max)

    monkeypatch.setattr("sde_diffusion.face.guides.denoiser_of", lambda path: worse.denoiser)
    asked: dict[str, Any] = {"guidance": "auto", "guidance__auto__model": "toy.safetensors"}
    rule = stable.calibrate(**{**FEW, "nfe": [4], **asked})
    asked_of = rule.calibration.facts["config"]["guidance"]
    assert [each["model"] for each in asked_of] == [worse.denoiser.identity]
    table = compare(
        stable, ["ddim"], nfe=[8], n=20, reference=PIXELS, metrics=(), progress=False, **asked
    )
    assert [row["nfe"] for row in table] == [8.0]
    # The worse model is the same here, so guidance by it changes nothing but the number of calls.
    plain = compare(stable, ["ddim"], nfe=[4], n=20, reference=PIXELS, metrics=(), progress=False)
    assert table[0]["fd"] == pytest.approx(plain[0]["fd"], rel=1e-6)


def test_what_cannot_be_opened_or_heard_is_one_line(stable: Model) -> None:
    with refused("checkpoint=no such file", "give"):
        stable.calibrate(**FEW, guidance=Auto(1.5, "no such file"))
    with refused("prompt=a red circle", "leave it out"):
        stable.calibrate(**FEW, prompt="a red circle")
    with refused("sigma_min=", "outside the model's range", "give levels within it"):
        stable.calibrate(**FEW, sigma_max=80.0)
