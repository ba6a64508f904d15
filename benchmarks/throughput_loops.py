"""One training step at a time, ours and diffusers', for ``throughput.py``."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks import register
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer

BATCH, ROUNDS, WARM = 8, 12, 2
STEPS = 100_000  # of the schedules; far fewer are taken
SHAPE = (3, 32, 32)
WIDTHS = (64, 128, 128)
IMAGES = torch.randint(
    0, 256, (2000, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)


def unet() -> UNet2DModel:
    """The network that both sides train, with the same weights."""
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=SHAPE[-1], in_channels=SHAPE[0], out_channels=SHAPE[0], layers_per_block=2,
        block_out_channels=WIDTHS,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


@register("diffusers_unet2d")
class Wrapped(nn.Module):
    """UNet2DModel as a network of ours, F(x, c_noise, cond)."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = unet()

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        return self.unet(x, c_noise, return_dict=False)[0]


def ours(precision: str) -> Trainer:
    """A run with the defaults of ``sde-diffusion train``."""
    spec = Spec("diffusers_unet2d", {}, "epsilon", {}, SHAPE)
    config = TrainConfig(steps=STEPS, batch_size=BATCH, save_every=STEPS, precision=precision)
    data = ImageSet(IMAGES, None, 0, "random pixels")
    return Trainer(spec, data, Parts(LogNormal()), config, Path(tempfile.mkdtemp()))


def steps_of(run: Trainer) -> Iterator[Any]:
    """The steps of our loop, its progress bar kept from the terminal."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield from run.run()


def theirs(precision: str, ema: bool) -> Iterator[float]:
    """The loop of diffusers' documentation for unconditional models, a step at a time.

    Without ``ema`` that of the tutorial, with it that of the training example's ``--use_ema``.
    The images are tensors already, and there is no accelerator object around the loop: both
    would cost the loop time, not gain it any.
    """
    model = unet()
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    rate = get_cosine_schedule_with_warmup(
        optimizer=optimizer, num_warmup_steps=500, num_training_steps=STEPS
    )
    average = EMAModel(model.parameters(), decay=0.9999, use_ema_warmup=True)
    loader = DataLoader(TensorDataset(to_float(IMAGES)), batch_size=BATCH, shuffle=True)
    while True:
        for (clean,) in loader:
            noise = torch.randn(clean.shape)
            timesteps = torch.randint(0, 1000, (clean.shape[0],), dtype=torch.int64)
            noisy = scheduler.add_noise(clean, noise, timesteps)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                predicted = model(noisy, timesteps, return_dict=False)[0]
            loss = F.mse_loss(predicted.float(), noise)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
            if ema:
                average.step(model.parameters())
            yield loss.detach().item()
