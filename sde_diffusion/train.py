"""Training a score network: one plain loop, exactly resumable.

Everything random in step k is drawn from generators seeded by (seed, k), so a resumed run
takes the steps an uninterrupted one would have taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.checkpoint import Spec, read_checkpoint, save_checkpoint
from sde_diffusion.condition import Condition
from sde_diffusion.data.images import ImageSet, to_float
from sde_diffusion.denoiser import NetworkDenoiser
from sde_diffusion.ema import PowerEMA
from sde_diffusion.errors import InputError
from sde_diffusion.levels import NoiseLevels

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train.

    Attributes:
        steps: optimizer steps in all. batch_size: images a step.
        lr: peak learning rate of Adam; linear over ``warmup`` steps, then a half cosine to 0.
        clip: largest gradient norm.
        label_dropout: share of rows whose class label is dropped (classifier-free guidance).
        sigma_rel: relative width of the power-function EMA.
        precision: ``float32`` or ``bfloat16`` (autocast of the network).
        save_every: steps between checkpoints, sample grids and validation.
        seed: of weights, batches, noise.
    """

    steps: int = 10000
    batch_size: int = 128
    lr: float = 1e-3
    warmup: int = 300
    clip: float = 1.0
    label_dropout: float = 0.1
    sigma_rel: float = 0.08
    precision: str = "float32"
    save_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"train.{name}={getattr(self, name)}: give a number >= 1")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"train.precision={self.precision}: choose float32 or bfloat16")

    def learning_rate(self, step: int) -> float:
        """Warm-up, then half a cosine to 0; step = 1 .. steps."""
        if step <= self.warmup:
            return self.lr * step / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * progress))


def batches(data: ImageSet, config: TrainConfig, step: int) -> Tensor:
    """Row numbers [B] of step ``step`` (1, 2, ...): one shuffled pass after another."""
    position = (step - 1) * config.batch_size
    rows: list[Tensor] = []
    missing = config.batch_size
    while missing:
        epoch, offset = divmod(position, len(data))
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
        order = torch.randperm(len(data), generator=generator)[offset : offset + missing]
        rows.append(order)
        position += len(order)
        missing -= len(order)
    return torch.cat(rows)


def batch_loss(
    denoiser: NetworkDenoiser,
    data: ImageSet,
    rows: Tensor,
    levels: NoiseLevels,
    label_dropout: float,
    generator: torch.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Losses [B] and noise levels [B] of one batch. Levels are stratified over the batch."""
    x_0 = to_float(data.images[rows]).to(device)
    n = len(rows)
    u = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    u = u[torch.randperm(n, generator=generator)].clamp(1e-6, 1 - 1e-6)
    sigma = levels.sigma(u).clamp(denoiser.sigma_min, denoiser.sigma_max).to(device)
    noise = torch.randn(x_0.shape, generator=generator).to(device)
    cond = None
    if data.labels is not None:
        drop = torch.rand(n, generator=generator) < label_dropout
        cond = Condition.label(data.labels[rows]).dropped(drop).to(device)
    return denoiser.loss(x_0, sigma, noise, cond), sigma


class Trainer:
    """The state of a run (network, EMA, optimizer, step) and its one loop."""

    def __init__(
        self,
        spec: Spec,
        data: ImageSet,
        levels: NoiseLevels,
        config: TrainConfig,
        folder: Path,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.manual_seed(config.seed)
        self.spec, self.data, self.levels, self.config = spec, data, levels, config
        self.folder, self.device = folder, torch.device(device)
        self.denoiser = spec.build().to(self.device)
        self.ema = PowerEMA(self.denoiser.network, config.sigma_rel)
        self.optimizer = torch.optim.Adam(self.denoiser.network.parameters(), config.lr, fused=True)
        self.step = 0
        self.smoothed = math.nan
        if (folder / CHECKPOINT).exists():
            self._restore(folder / CHECKPOINT)

    def run(self, on_save: Callable[[Trainer], None] | None = None) -> Iterator[dict[str, float]]:
        """Train to ``config.steps``; yields step, loss and learning rate at each step."""
        network = self.denoiser.network.train()
        autocast = self.config.precision == "bfloat16"
        progress = tqdm(total=self.config.steps, initial=self.step, desc="train", unit="step")
        while self.step < self.config.steps:
            self.step += 1
            seed = self.config.seed * 1_000_003 + self.step
            torch.manual_seed(seed)  # dropout
            generator = torch.Generator().manual_seed(seed)
            rows = batches(self.data, self.config, self.step)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
                losses, _ = batch_loss(
                    self.denoiser, self.data, rows, self.levels,
                    self.config.label_dropout, generator, self.device,
                )  # fmt: skip
            loss = losses.mean()
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), self.config.clip)
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate(self.step)
            self.optimizer.step()
            self.ema.update(network, self.step)
            value = float(loss.detach())
            self.smoothed = value if self.step == 1 else 0.99 * self.smoothed + 0.01 * value
            progress.update()
            progress.set_postfix(loss=f"{self.smoothed:.4f}", refresh=False)
            yield {"step": self.step, "loss": value, "lr": self.config.learning_rate(self.step)}
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self.save()
                if on_save is not None:
                    on_save(self)
        progress.close()

    def save(self) -> None:
        """Write the checkpoint to resume from, atomically; at the end, the model alone."""
        spec = replace(self.spec, step=self.step)
        model = {f"model.{k}": v for k, v in self.ema.network.state_dict().items()}
        tensors = dict(model)
        tensors |= {f"train.net.{k}": v for k, v in self.denoiser.network.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"train.adam.{i}.{k}": v for k, v in state.items()}
        tensors["train.smoothed"] = torch.tensor(self.smoothed, dtype=torch.float64)
        save_checkpoint(self.folder / CHECKPOINT, spec, tensors)
        if self.step == self.config.steps:
            half = {k: v.to(torch.float16) for k, v in model.items()}
            save_checkpoint(self.folder / MODEL, spec, half)

    def _restore(self, path: Path) -> None:
        spec, tensors = read_checkpoint(path)
        recorded, wanted = trained_as(spec), trained_as(self.spec)
        if recorded != wanted:
            changed = sorted(k for k in wanted if recorded.get(k) != wanted[k])
            raise InputError(
                f"hydra.run.dir={path.parent}: holds a run with another {', '.join(changed)}; "
                "choose another folder or remove it"
            )
        part: Callable[[str], dict[str, Tensor]] = lambda p: {  # noqa: E731
            k.removeprefix(p): v for k, v in tensors.items() if k.startswith(p)
        }
        self.denoiser.network.load_state_dict(part("train.net."))
        self.ema.network.load_state_dict(part("model."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in part("train.adam.").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.smoothed = float(tensors["train.smoothed"])
        self.step = spec.step


def trained_as(spec: Spec) -> dict[str, Any]:
    """The part of a spec that a resumed run must share."""
    return {k: v for k, v in asdict(spec).items() if k not in ("step", "config")}
