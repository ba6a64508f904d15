"""Consistency models of diffusers' folders walk here as under their own schedulers, to 1e-4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sde_diffusion as sd
from sde_diffusion.system.notice import new_job
from tests import tiny_pipelines as tiny
from tests.in_turn import InTurn
from tests.peers.test_diffusers_folders import unet
from tests.refusals import refused

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [peers]")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
SHAPE = (2, 1, 8, 8)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "consistency": ("CMStochasticIterativeScheduler", {"clip_denoised": False}),
    "latent": ("LCMScheduler", {}),
    "latent v": ("LCMScheduler", {"prediction_type": "v_prediction", "timestep_scaling": 2.0}),
    "latent linear": (
        "LCMScheduler",
        {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02,
         "original_inference_steps": 20},
    ),
    "trajectory": ("TCDScheduler", {}),
    "trajectory v": (
        "TCDScheduler", {"prediction_type": "v_prediction", "original_inference_steps": 20},
    ),
    "trajectory image": (
        "TCDScheduler",
        {"prediction_type": "sample", "beta_schedule": "squaredcos_cap_v2", "clip_sample": True},
    ),
}  # fmt: skip
OWN = {"TCDScheduler": "tcd"}


def noise_of(shape: tuple[int, ...] = SHAPE) -> InTurn:
    """The draws of a generator; the first is the start."""
    generator = torch.Generator().manual_seed(1)
    return InTurn(lambda: torch.randn(shape, generator=generator), start=1)


@torch.no_grad()
def gap(folder: Path, case: str, n: int, **fixed: float) -> float:
    """Of the image after ``n`` steps from one start and the same draws, relative to its largest.

    ``fixed``: what the peer's steps are told of the noise, ``eta``.
    """
    name, fields = CASES[case]
    solver = sd.TCD(fixed["eta"]) if fixed else OWN.get(name, "consistency")
    network, scheduler = unet(), getattr(diffusers, name)(**fields)
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(folder)
    generator = torch.Generator().manual_seed(1)
    scheduler.set_timesteps(n)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t)
        x = scheduler.step(network(scaled, t).sample, t, x, generator=generator, **fixed)[0]
    noise = noise_of()
    drawn = sd.load(folder).sample(2, n, solver=solver, noise=noise, x_T=noise.before[0]).x
    return float((drawn - x).abs().max() / x.abs().max())


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("case", CASES)
def test_the_walk_is_the_peers(tmp_path: Path, case: str, n: int) -> None:
    assert gap(tmp_path, case, n) < 1e-4


@pytest.mark.parametrize("gamma", [0.0, 0.55, 1.0])
def test_a_trajectory_goes_as_far_down_as_it_is_told(tmp_path: Path, gamma: float) -> None:
    assert gap(tmp_path, "trajectory", 5, eta=gamma) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("guidance", [None, 3.0])
def test_a_latent_consistency_pipeline_draws_as_itself(
    tmp_path: Path, guidance: float | None
) -> None:
    """It is told its guidance as waves, and 8.5 where nothing else is said."""
    pipe = diffusers.LatentConsistencyModelPipeline(
        vae=tiny.vae(), text_encoder=tiny.clip_text(), tokenizer=tiny.clip_tokenizer(),
        unet=tiny.unet(16, time_cond_proj_dim=9), scheduler=diffusers.LCMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path)
    noise = noise_of((2, 4, 8, 8))
    generator = torch.Generator().manual_seed(1)
    torch.randn(noise.before[0].shape, generator=generator)
    told = {} if guidance is None else {"guidance_scale": guidance}
    theirs = pipe(
        ["a red cube"] * 2, num_inference_steps=3, latents=noise.before[0], generator=generator,
        height=16, width=16, output_type="latent", **told,
    ).images  # fmt: skip
    model = sd.load(tmp_path)
    drawn = model.sample(
        2, 3, solver="consistency", noise=noise, x_T=noise.before[0], prompt="a red cube",
        embedded_guidance=guidance,
    )  # fmt: skip
    assert float((drawn.x - theirs).abs().max() / theirs.abs().max()) < 1e-4
    with refused("solver:", 'solver="consistency"'):
        model.sample(2, 4, prompt="a red cube")
    with refused("negative=blue", "nothing leads away from it"):
        model.sample(2, 3, solver="consistency", prompt="a red cube", negative="blue")


@pytest.mark.parametrize("named", ["somebody/sd-turbo", "FLUX.1-schnell", "Dreamshaper_LCM"])
def test_a_name_says_that_a_model_is_distilled(
    named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.sd15().save_pretrained(tmp_path)
    assert "distilled" not in {row["key"] for row in sd.inspect(tmp_path)}
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["_name_or_path"] = named
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    new_job()
    assert "distilled" in sd.inspect(tmp_path).undone
    assert f"{named}: its own few steps alone" in capsys.readouterr().err


def test_what_its_files_say_and_what_is_refused(tmp_path: Path) -> None:
    name, fields = CASES["consistency"]
    scheduler = getattr(diffusers, name)(**fields)
    diffusers.ConsistencyModelPipeline(unet(), scheduler).save_pretrained(tmp_path)
    model = sd.load(tmp_path)
    said = {row["key"]: row for row in sd.inspect(model)}
    assert "no denoiser" in said["prediction"]["value"]
    assert said["clip_denoised"]["honoured"]
    for draw in (
        lambda: model.sample(2, 8),
        lambda: model.sample(2, 8, solver="ddim"),
        lambda: model.calibrate(nfe=[4], label=None),
        lambda: model.encode(torch.zeros(1, 1, 8, 8)),
    ):
        with refused("solver:", 'solver="consistency"'):
            draw()
    again = tmp_path / "ours.safetensors"
    model.save(again)
    x = model.sample(2, 2, solver="consistency").x
    assert torch.equal(sd.load(again).sample(2, 2, solver="consistency").x, x)


def test_a_pipeline_of_latent_consistency_under_another_scheduler_is_named(tmp_path: Path) -> None:
    """Its network is distilled whatever its scheduler is said to be."""
    tiny.sd15().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["_class_name"] = "LatentConsistencyModelPipeline"
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert "distilled" in sd.inspect(tmp_path).undone
