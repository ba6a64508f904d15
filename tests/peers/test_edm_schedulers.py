"""Folders with a scheduler of EDM's preconditioning walk here as under that scheduler, to 1e-4.

Exception: diffusers begins at sqrt(sigma_max^2 + 1) n, and EDM, as we do, at sigma_max n; both are
given the first here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import sde_diffusion as sd
from sde_diffusion.hosts.scheduler import SolverScheduler
from sde_diffusion.models.schedulers import read_schedule
from tests.refusals import refused

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [peers]")
tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
EULER, DPM = "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"
COSXL = {"prediction_type": "v_prediction", "sigma_data": 1.0, "sigma_max": 120.0,
         "sigma_schedule": "exponential"}  # fmt: skip
CASES: dict[str, tuple[str, sd.Solver, dict[str, Any]]] = {
    "euler": (EULER, sd.DDIM(), {}),
    "euler cosxl": (EULER, sd.DDIM(), COSXL),
    "euler of small levels": (EULER, sd.DDIM(), {"sigma_max": 3.0, "sigma_min": 0.1, "rho": 3.0}),
    "dpm++ 2m": (DPM, sd.DPMpp2M(lower_order_final=True), {}),
    "dpm++ 2m v": (DPM, sd.DPMpp2M(lower_order_final=True), {"prediction_type": "v_prediction"}),
}


def start(sigma_max: float, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, and that of which sigma_max times is sqrt(sigma_max^2 + 1) times the noise."""
    n = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return n, n * math.hypot(1, 1 / sigma_max)


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_the_walk_is_the_peers(tmp_path: Path, case: str) -> None:
    from tests.peers.test_diffusers_folders import unet

    name, solver, fields = CASES[case]
    network, scheduler = unet(), getattr(diffusers, name)(**fields)
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(tmp_path)
    n, x_T = start(scheduler.config.sigma_max, (2, 1, 8, 8))
    scheduler.set_timesteps(9)
    x = n * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t).sample, t, x).prev_sample
    drawn = sd.load(tmp_path).sample(2, 9, solver=solver, x_T=x_T).x
    assert float((drawn - x).abs().max() / x.abs().max()) < 1e-4


@pytest.mark.parametrize("hosted", [False, True])
def test_a_pipeline_of_latents_draws_as_itself(tmp_path: Path, hosted: bool) -> None:
    """As a folder opened here, and with our scheduler in the place of its own."""
    pipe = tiny.sdxl()
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.EDMDPMSolverMultistepScheduler()
    pipe.save_pretrained(tmp_path)
    n, x_T = start(80.0, (2, 4, 8, 8))
    call = {
        "prompt": ["a red cube"] * 2, "negative_prompt": ["blue"] * 2, "guidance_scale": 4.0,
        "num_inference_steps": 6, "output_type": "latent", "height": 16, "width": 16,
    }  # fmt: skip
    theirs = pipe(latents=n, **call).images
    solver = sd.DPMpp2M(lower_order_final=True)
    if hosted:
        pipe.scheduler = SolverScheduler(solver, None, pipe.scheduler)
        ours = pipe(latents=x_T, **call).images
    else:
        ours = sd.load(tmp_path).sample(
            2, 12, solver=solver, x_T=x_T, prompt="a red cube", negative="blue",
            guidance="cfg", guidance__cfg__scale=4.0, size=(16, 16),
        ).x  # fmt: skip
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-4


def test_every_key_is_honoured_or_named() -> None:
    config = dict(diffusers.EDMDPMSolverMultistepScheduler(final_sigmas_type="sigma_min").config)
    schedule = read_schedule({**config, "_class_name": DPM, "sigma_data": 1.0})
    said = {finding.key: finding for finding in schedule.findings}
    assert schedule.arguments["sigma_data"] == 1.0
    assert all(said[key].honoured for key in ("sigma_max", "rho", "sigma_schedule", "sigma_data"))
    assert "ends at zero" in said["final_sigmas_type"].evidence
    assert not said["final_sigmas_type"].honoured


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"sigma_data": 0}, "sigma_data=0"),
        ({"sigma_schedule": "cosine"}, "sigma_schedule=cosine"),
        ({"sigma_min": 90.0}, "sigma_m"),
        ({"prediction_type": "sample"}, "prediction_type=sample"),
        ({"rho": -1.0}, "rho"),
    ],
)
def test_what_is_no_schedule_is_refused(fields: dict[str, Any], key: str) -> None:
    with refused("scheduler_config.json", key):
        read_schedule({"_class_name": EULER, **fields})
