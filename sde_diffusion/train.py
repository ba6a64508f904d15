"""Training a score network: one plain loop, exactly resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.batches import DROPOUT, WEIGHTS, Batch, derive, draw_batch
from sde_diffusion.checkpoint import Spec, read_checkpoint, save_checkpoint
from sde_diffusion.data.images import ImageSet
from sde_diffusion.denoiser import NetworkDenoiser
from sde_diffusion.ema import Averaged, PowerEMA, gamma_of
from sde_diffusion.errors import InputError
from sde_diffusion.levels import NoiseLevels

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
PATIENCE = 10
# Keys of TrainConfig that may change when a run is resumed.
FREE = ("steps", "save_every")


class Diverged(InputError, RuntimeError):
    """The loss was not finite for ``PATIENCE`` steps in a row."""


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
        for name, low in {
            "steps": 1,
            "batch_size": 1,
            "save_every": 1,
            "warmup": 0,
            "seed": 0,
        }.items():
            if getattr(self, name) < low:
                raise InputError(f"{name}={getattr(self, name)}: give a number >= {low}")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)}: give a number > 0")
        if not 0 <= self.label_dropout <= 1:
            raise InputError(f"label_dropout={self.label_dropout}: give a share from 0 to 1")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision={self.precision}: choose float32 or bfloat16")
        gamma_of(self.sigma_rel)

    def learning_rate(self, step: int) -> float:
        """Warm-up, then half a cosine to 0; step = 1 .. steps."""
        if step <= self.warmup:
            return self.lr * step / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * progress))


class Trainer:
    """The state of a run (network, EMA, optimizer, step) and its one loop.

    A folder that holds a checkpoint of the same run is resumed; of another one, refused.

    Attributes:
        denoiser: the network being trained. ema: its averaged weights.
        step: optimizer steps done. skipped: how many of them had no finite loss.
        smoothed: running mean of the loss over about 100 steps.
    """

    def __init__(
        self,
        spec: Spec,
        data: ImageSet,
        levels: NoiseLevels,
        config: TrainConfig,
        folder: Path,
        device: torch.device | str = "cpu",
    ) -> None:
        check_fit(spec, data)
        self.spec, self.data, self.levels, self.config = spec, data, levels, config
        self.folder, self.device = folder, torch.device(device)
        with torch.random.fork_rng([]):
            torch.manual_seed(derive(config.seed, WEIGHTS, 0))
            self.denoiser = spec.build()
        self.denoiser.to(self.device)
        self.ema = Averaged(self.denoiser.network, PowerEMA(config.sigma_rel))
        self.optimizer = torch.optim.Adam(self.denoiser.network.parameters(), config.lr, fused=True)
        self.step = 0
        self.skipped = 0
        self.smoothed = math.nan
        self._failures = 0
        train = {name: value for name, value in asdict(config).items() if name not in FREE}
        self._run = {"train": train, "levels": levels.quantiles(), "pixels": data.fingerprint}
        if (folder / CHECKPOINT).exists():
            self._restore(folder / CHECKPOINT)

    def ema_denoiser(self) -> NetworkDenoiser:
        """A denoiser on the averaged weights, shared with this run, in evaluation mode."""
        d = self.denoiser
        return NetworkDenoiser(
            self.ema.network, d.parameterization, d.shape, d.sigma_min, d.sigma_max
        ).eval()

    def run(self, on_save: Callable[[Trainer], None] | None = None) -> Iterator[dict[str, float]]:
        """Train to ``config.steps``; yields step, loss, learning rate and skipped at each step.

        Every ``save_every`` steps and at the end the checkpoint is written, then ``on_save``
        called. Diverged after ``PATIENCE`` steps in a row without a finite loss.
        """
        self.denoiser.train()
        total = self.config.steps
        with tqdm(total=total, initial=self.step, desc="train", unit="step") as progress:
            while self.step < total:
                metrics = self._advance()
                progress.update()
                progress.set_postfix(loss=f"{self.smoothed:.4f}", refresh=False)
                yield metrics
                if self.step % self.config.save_every == 0 or self.step == total:
                    self.save()
                    if on_save is not None:
                        on_save(self)
        # A run killed between its last checkpoint and its model.
        if not (self.folder / MODEL).exists():
            self._save_model()

    def _advance(self) -> dict[str, float]:
        """One optimizer step, left out if its loss or gradient is not finite."""
        step, config, network = self.step + 1, self.config, self.denoiser.network
        lr = config.learning_rate(step)
        batch = draw_batch(
            step, self.data, self.levels, config.batch_size, config.label_dropout, config.seed
        ).to(self.device)
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
        if self._failures >= PATIENCE:
            worst = int(losses.nan_to_num(nan=math.inf).argmax())
            raise Diverged(
                f"lr={self.config.lr:g}: no finite loss or gradient in {PATIENCE} steps in a row, "
                f"the last at step {step}, noise level {float(sigma[worst]):.4g}; "
                "lower lr, or set precision=float32"
            )

    def _recorded_spec(self) -> Spec:
        return replace(self.spec, step=self.step, config={**self.spec.config, "run": self._run})

    def save(self) -> None:
        """Write the checkpoint to resume from, atomically; at the end, the model alone."""
        tensors = prefixed("model.", self.ema.network.state_dict())
        tensors |= prefixed("train.net.", self.denoiser.network.state_dict())
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= prefixed(f"train.adam.{i}.", state)
        tensors["train.smoothed"] = torch.tensor(self.smoothed, dtype=torch.float64)
        tensors["train.skipped"] = torch.tensor(self.skipped)
        save_checkpoint(self.folder / CHECKPOINT, self._recorded_spec(), tensors)
        if self.step >= self.config.steps:
            self._save_model()

    def _save_model(self) -> None:
        half = {
            name: value.to(torch.float16) if value.is_floating_point() else value
            for name, value in self.ema.network.state_dict().items()
        }
        save_checkpoint(self.folder / MODEL, self._recorded_spec(), prefixed("model.", half))

    def _restore(self, path: Path) -> None:
        spec, tensors = read_checkpoint(path)
        changed = differences(spec, self._recorded_spec())
        if changed:
            raise InputError(
                f"hydra.run.dir={path.parent}: holds a run with another {', '.join(changed)}; "
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
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                f"hydra.run.dir={path.parent}: {path.name} holds no training state of this "
                "network; choose another folder or remove it"
            ) from error
        self.skipped = int(tensors.get("train.skipped", torch.tensor(0)))
        self.step = spec.step


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under names that start with ``prefix``."""
    return {prefix + name: value for name, value in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of ``prefixed``: the tensors whose names start with ``prefix``."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def check_fit(spec: Spec, data: ImageSet) -> None:
    """InputError unless the data have the shape and the labels that the network expects."""
    if not len(data):
        raise InputError(f"data={data.name}: holds no images")
    if tuple(data.images.shape[1:]) != tuple(spec.shape):
        raise InputError(
            f"data={data.name}: images are {tuple(data.images.shape[1:])}, "
            f"the network expects {tuple(spec.shape)}"
        )
    if spec.classes and (data.labels is None or spec.classes != data.classes):
        raise InputError(
            f"data={data.name}: has {data.classes if data.labels is not None else 0} classes, "
            f"the network expects {spec.classes}; set network.args.classes={data.classes}"
        )


def differences(recorded: Spec, wanted: Spec) -> list[str]:
    """Names of what a resumed run must share and does not; an older record may lack some."""
    ours, theirs = _identity(wanted), _identity(recorded)
    return sorted(name for name in ours if name in theirs and ours[name] != theirs[name])


def _identity(spec: Spec) -> dict[str, Any]:
    fields = asdict(spec)
    run = fields.pop("config").get("run", {})
    del fields["step"]
    fields["shape"] = tuple(fields["shape"])
    return {**fields, **run.pop("train", {}), **run}
