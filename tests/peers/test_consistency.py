"""Consistency models of diffusers' folders walk here as under their own schedulers, to 1e-4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.process.noise import Noise, NoiseSource
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
}  # fmt: skip


class InTurn(Noise, NoiseSource):
    """The draws of a generator, one after the other, after the start."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)
        self.first = torch.randn(SHAPE, generator=self.generator)

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Noise:
        return self

    def fresh(self) -> Tensor:
        return torch.randn(SHAPE, generator=self.generator)

    def normal(self, t: float, s: float) -> Tensor:
        return self.fresh()

    def entropy(self) -> list[int]:
        raise AssertionError("no library draws here")


@torch.no_grad()
def gap(folder: Path, case: str, n: int) -> float:
    """Of the image after ``n`` steps from one start and the same draws, relative to its largest."""
    name, fields = CASES[case]
    network, scheduler = unet(), getattr(diffusers, name)(**fields)
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(folder)
    generator = torch.Generator().manual_seed(1)
    scheduler.set_timesteps(n)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t)
        x = scheduler.step(network(scaled, t).sample, t, x, generator=generator).prev_sample
    noise = InTurn()
    drawn = sd.load(folder).sample(2, n, solver="consistency", noise=noise, x_T=noise.first).x
    return float((drawn - x).abs().max() / x.abs().max())


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("case", CASES)
def test_the_walk_is_the_peers(tmp_path: Path, case: str, n: int) -> None:
    assert gap(tmp_path, case, n) < 1e-4


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
        with refused("solver:", "solver=consistency"):
            draw()
    again = tmp_path / "ours.safetensors"
    model.save(again)
    x = model.sample(2, 2, solver="consistency").x
    assert torch.equal(sd.load(again).sample(2, 2, solver="consistency").x, x)
