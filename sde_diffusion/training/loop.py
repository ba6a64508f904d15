"""Training a score network: one plain loop, exactly resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.batches import DROPOUT, WEIGHTS, Batch, derive, draw_batch
from sde_diffusion.checkpoint import Spec, save_checkpoint
from sde_diffusion.data.images import ImageSet
from sde_diffusion.denoiser import NetworkDenoiser
from sde_diffusion.ema import EMA, Averaged, PowerEMA
from sde_diffusion.errors import InputError
from sde_diffusion.levels import NoiseLevels
from sde_diffusion.training.config import TrainConfig
from sde_diffusion.training.fit import check_fit
from sde_diffusion.training.schedule import Cosine, Schedule
from sde_diffusion.training.state import (
    BEST,
    MODEL,
    Checkpoints,
    differences,
    prefixed,
    under,
)

# Keys of TrainConfig that may change when a run is resumed.
FREE = ("steps", "save_every", "keep", "patience")


class Diverged(InputError, RuntimeError):
    """The loss was not finite for ``patience`` steps in a row."""


@dataclass(frozen=True)
class Parts:
    """The components of a run, and what its checkpoint records of them beside their numbers.

    ``described`` holds plain values by name; a folder is resumed only if they are the same.
    """

    levels: NoiseLevels
    schedule: Schedule = field(default_factory=Cosine)
    ema: EMA = field(default_factory=PowerEMA)
    described: dict[str, Any] = field(default_factory=dict)


class Trainer:
    """The state of a run (network, average, optimizer, step) and its one loop.

    A folder that holds a checkpoint of the same run is resumed; of another one, refused.

    Attributes:
        denoiser: the network being trained. ema: its averaged weights.
        step: optimizer steps done. skipped: how many of them had no finite loss.
        smoothed: running mean of the loss over about 100 steps.
        best: the lowest validation loss at a save so far.
    """

    def __init__(
        self,
        spec: Spec,
        data: ImageSet,
        parts: Parts,
        config: TrainConfig,
        folder: Path,
        device: torch.device | str = "cpu",
    ) -> None:
        check_fit(spec, data)
        self.spec, self.data, self.parts, self.config = spec, data, parts, config
        self.folder, self.device = folder, torch.device(device)
        with torch.random.fork_rng([]):
            torch.manual_seed(derive(config.seed, WEIGHTS, 0))
            self.denoiser = spec.build()
        self.denoiser.to(self.device, config.dtype)
        self.ema = Averaged(self.denoiser.network, parts.ema)
        self.optimizer = torch.optim.Adam(self.denoiser.network.parameters(), config.lr, fused=True)
        self.step = 0
        self.skipped = 0
        self.smoothed = math.nan
        self.best = math.inf
        self._failures = 0
        train = {name: value for name, value in asdict(config).items() if name not in FREE}
        self._run = {
            "train": train,
            "levels": parts.levels.quantiles(),
            "pixels": data.fingerprint,
            **parts.described,
        }
        self.checkpoints = Checkpoints(folder, config.keep)
        if (found := self.checkpoints.read()) is not None:
            self._restore(*found)

    def ema_denoiser(self) -> NetworkDenoiser:
        """A denoiser on the averaged weights, shared with this run, in evaluation mode."""
        d = self.denoiser
        return NetworkDenoiser(
            self.ema.network, d.parameterization, d.shape, d.sigma_min, d.sigma_max
        ).eval()

    def run(
        self,
        validate: Callable[[Trainer], float] | None = None,
        on_save: Callable[[Trainer], None] | None = None,
    ) -> Iterator[dict[str, float]]:
        """Train to ``config.steps``; yields step, loss, learning rate and skipped at each step.

        Every ``save_every`` steps and at the end: ``validate``, whose lowest value marks the best
        model, then the checkpoint is written, then ``on_save``. Diverged after ``patience`` steps
        in a row without a finite loss.
        """
        self.denoiser.train()
        total = self.config.steps
        with tqdm(total=total, initial=self.step, desc="train", unit="step") as progress:
            while self.step < total:
                metrics = self._advance()
                progress.update()
                self._show(progress)
                yield metrics
                if self.step % self.config.save_every == 0 or self.step == total:
                    self.save(math.inf if validate is None else validate(self))
                    if on_save is not None:
                        on_save(self)
        # A run killed between its last checkpoint and its model.
        if not (self.folder / MODEL).exists():
            self._save_model(MODEL)

    def _show(self, progress: Any) -> None:
        """The smoothed loss and the images a second beside the bar, whose time left is its own."""
        shown = {"loss": f"{self.smoothed:.4f}"}
        if (rate := progress.format_dict["rate"]) is not None:
            shown["images/s"] = f"{rate * self.config.batch_size:.0f}"
        progress.set_postfix(shown, refresh=False)

    def _advance(self) -> dict[str, float]:
        """One optimizer step, left out if its loss or gradient is not finite."""
        step, config, network = self.step + 1, self.config, self.denoiser.network
        lr = config.lr * self.parts.schedule.share(step, config.warmup, config.steps)
        batch = draw_batch(
            step, self.data, self.parts.levels, config.batch_size, config.label_dropout, config.seed
        ).to(self.device, config.dtype)
        losses = self._losses(batch, step)
        loss = losses.mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        value = float(loss.detach())
        if math.isfinite(value + float(norm)):
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self._failures = 0
            first = math.isnan(self.smoothed)
            self.smoothed = value if first else 0.99 * self.smoothed + 0.01 * value
        else:
            self._skip(step, losses.detach(), batch.sigma)
        self.ema.update(network, step)
        self.step = step
        return {"step": step, "loss": value, "lr": lr, "skipped": self.skipped}

    def _losses(self, batch: Batch, step: int) -> Tensor:
        """Denoising score matching losses [B]; dropout draws from its own stream."""
        d, kind = self.denoiser, self.device.type
        autocast = torch.autocast(kind, torch.bfloat16, enabled=self.config.precision == "bfloat16")
        with torch.random.fork_rng([] if kind == "cpu" else [self.device]), autocast:
            torch.manual_seed(derive(self.config.seed, DROPOUT, step))
            sigma = batch.sigma.clamp(d.sigma_min, d.sigma_max)
            return d.loss(batch.x_0, sigma, batch.noise, batch.cond)

    def _skip(self, step: int, losses: Tensor, sigma: Tensor) -> None:
        self.skipped += 1
        self._failures += 1
        if self._failures >= self.config.patience:
            worst = int(losses.nan_to_num(nan=math.inf).argmax())
            raise Diverged(
                f"lr={self.config.lr:g}: no finite loss or gradient in {self.config.patience} "
                f"steps in a row, the last at step {step}, noise level {float(sigma[worst]):.4g}; "
                "lower lr, or set precision=float32"
            )

    def _recorded_spec(self) -> Spec:
        return replace(self.spec, step=self.step, config={**self.spec.config, "run": self._run})

    def save(self, value: float = math.inf) -> None:
        """Write the checkpoint to resume from; the best model if ``value`` says so, and the last.

        The best model is written first: a run killed in between makes it again.
        """
        if value < self.best:
            self.best = value
            self._save_model(BEST)
        tensors = prefixed("model.", self.ema.network.state_dict())
        tensors |= prefixed("train.net.", self.denoiser.network.state_dict())
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= prefixed(f"train.adam.{i}.", state)
        tensors["train.smoothed"] = torch.tensor(self.smoothed, dtype=torch.float64)
        tensors["train.skipped"] = torch.tensor([self.skipped, self._failures])
        if math.isfinite(self.best):
            tensors["train.best"] = torch.tensor(self.best, dtype=torch.float64)
        self.checkpoints.write(self._recorded_spec(), tensors)
        if self.step >= self.config.steps:
            self._save_model(MODEL)

    def _save_model(self, name: str) -> None:
        """The averaged weights alone, in half precision."""
        half = {
            name: value.to(torch.float16) if value.is_floating_point() else value
            for name, value in self.ema.network.state_dict().items()
        }
        save_checkpoint(self.folder / name, self._recorded_spec(), prefixed("model.", half))

    def _restore(self, spec: Spec, tensors: dict[str, Tensor]) -> None:
        changed = differences(spec, self._recorded_spec())
        if changed:
            raise InputError(
                f"hydra.run.dir={self.folder}: holds a run with another {', '.join(changed)}; "
                "choose another folder or remove it"
            )
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in under("train.adam.", tensors).items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        try:
            self.denoiser.network.load_state_dict(under("train.net.", tensors))
            self.ema.network.load_state_dict(under("model.", tensors))
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
            self.smoothed = float(tensors["train.smoothed"])
            self.skipped, self._failures = tensors["train.skipped"].tolist()
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"hydra.run.dir={self.folder}: its checkpoint holds no training state of this "
                "network; choose another folder or remove it"
            ) from error
        self.best = float(tensors.get("train.best", math.inf))
        self.step = spec.step
