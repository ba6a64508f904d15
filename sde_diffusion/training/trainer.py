"""Training a score network: one plain loop, exactly resumable."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.denoisers.arithmetic import compiled
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import save_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.process.noise import VERSION, Stream, derived_seed
from sde_diffusion.system import bars, processes
from sde_diffusion.system.notice import notice
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.storage import tidy
from sde_diffusion.training.augment import Augment, AugmentChain
from sde_diffusion.training.batch import Batch, Batches, part_of
from sde_diffusion.training.checkpoints import (
    BEST,
    MODEL,
    Checkpoints,
    differences,
    noise_version,
    settings,
)
from sde_diffusion.training.clip import clip
from sde_diffusion.training.compatible import check_fit, start_from
from sde_diffusion.training.ema import EMA, PowerEMA
from sde_diffusion.training.frozen import freeze
from sde_diffusion.training.levels import NoiseLevels
from sde_diffusion.training.objective import Objective
from sde_diffusion.training.precision import prepare
from sde_diffusion.training.schedule import Cosine, Schedule
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.state import State, prefixed
from sde_diffusion.training.weighting import PublishedWeighting, Weighting

ASKED = 20  # steps of which the host hears at once


class Diverged(InputError, RuntimeError):
    """The loss was not finite for ``patience`` steps in a row."""


@dataclass(frozen=True)
class Parts:
    """The components of a run, and what its checkpoint records of them.

    ``described`` holds plain values by name; a folder is resumed only if they are the same.
    """

    levels: NoiseLevels
    weighting: Weighting = field(default_factory=PublishedWeighting)
    augment: Augment = field(default_factory=AugmentChain)
    schedule: Schedule = field(default_factory=Cosine)
    ema: EMA = field(default_factory=PowerEMA)
    described: dict[str, Any] = field(default_factory=dict)


class Trainer:
    """A run and its one loop; of several processes, each has one and works on its share.

    A folder that holds a checkpoint of the same run is resumed; of another one, refused.

    Attributes:
        state: all that changes. denoiser: the network being trained.
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
        part_of(config.batch_size, (0, processes.size() * config.accumulate))
        self.spec, self.parts, self.config = spec, parts, config
        self.batches = Batches(
            data, parts.levels, config.batch_size, config.dropout, config.seed, parts.augment
        )
        # Of the next step, drawn before the host waits for the device: it has work the sooner then.
        self._ahead: Batch | None = None
        self.folder, self.device = folder, torch.device(device)
        with torch.random.fork_rng([]):
            torch.manual_seed(derived_seed(config.seed, Stream.WEIGHTS, 0))
            self.denoiser = spec.build()
        self.denoiser.precision = config.precision
        network = self.denoiser.network
        weighting = copy.deepcopy(parts.weighting).to(self.device, config.torch_dtype)  # it learns
        prepare(network, config, self.device)
        self.checkpoints = Checkpoints(folder, config.keep)
        if processes.rank() == 0:
            tidy(folder)
        checkpoint = self.checkpoints.read()
        if checkpoint is None and config.init is not None:
            start_from(config.init, spec, network)
        freeze(network, config.frozen)
        self.state = State(self.denoiser, weighting, parts.ema, config.patience, config.widths)
        self._run = {
            "train": config.identity(),
            "levels": parts.levels.quantiles(),
            "pixels": data.fingerprint,
            NOISE: VERSION,
            **parts.described,
        }
        if checkpoint is not None:
            self._restore(*checkpoint)
        if config.compile:
            compiled(network, self.device)
        # What one call gives, on this process's rows, and the gradients of all rows.
        self.objective = Objective(self.denoiser, weighting)
        self.replica = self._spread()
        self._parameters = [p for p in self.objective.parameters() if p.requires_grad]
        self.state.optimizer = self._optimizer()
        if checkpoint is not None:
            with self._resumable():
                self.state.restore_optimizer(checkpoint[1])

    def _restore(self, spec: Spec, tensors: dict[str, Tensor]) -> None:
        """Weights and counters of a checkpoint, if it is one of this run."""
        if changed := differences(spec, self._recorded_spec()):
            raise InputError(
                f"hydra.run.dir={self.folder}: holds a run with another {', '.join(changed)}; "
                "choose another folder or remove it"
            )
        if spec.step > self.config.steps:
            raise InputError(
                f"steps={self.config.steps}: the run in {self.folder} is at step {spec.step} "
                "already; give more, or choose another folder"
            )
        began = noise_version(spec)
        if began != VERSION and spec.step < self.config.steps and processes.rank() == 0:
            notice(
                f"{self.folder}: begun with version {began} of the noise; steps from "
                f"{spec.step + 1} on draw from version {VERSION}"
            )
        with self._resumable():
            self.state.restore_weights(tensors, spec.step)
        # What can no longer be told, such as the content of a start that is gone, stays recorded.
        self._run["train"] = {**settings(spec), **self.config.identity()}

    @contextmanager
    def _resumable(self) -> Iterator[None]:
        """Turns what restoring raises for tensors that do not fit into one line."""
        try:
            yield
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"hydra.run.dir={self.folder}: its checkpoint holds no training state of this "
                "network; choose another folder or remove it"
            ) from error

    def _optimizer(self) -> torch.optim.Optimizer:
        """Of all that learns."""
        config = self.config
        return torch.optim.AdamW(
            self._parameters,
            config.lr,
            betas=(config.betas[0], config.betas[1]),
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _spread(self) -> torch.nn.Module:
        """The objective as several processes train it together."""
        if processes.size() == 1 or self.config.parallel == "ddp":
            return processes.replicated(self.objective)
        for module in (self.objective, *self.state.averages()):
            processes.shard(module)
        return self.objective

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.state.step

    def ema_denoiser(self) -> NetworkDenoiser:
        """A denoiser on the averaged weights, shared with this run, in evaluation mode."""
        d = self.denoiser
        return NetworkDenoiser(
            self.state.ema.network, d.parameterization, d.shape, d.sigma_min, d.sigma_max
        ).eval()

    def run(
        self,
        validate: Callable[[Trainer], float] | None = None,
        on_save: Callable[[Trainer], None] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Train to ``config.steps``; yields step, lr and seconds of each step, and its loss, [] on
        the device: to take its number waits for it. A step itself waits for none, but for each
        ``ASKED`` th and before each save, whose seconds are those of all that it waited for.

        Every ``save_every`` steps and at the end: ``validate``, whose lowest value marks the best
        model, then the checkpoint is written, then ``on_save``. Diverged after ``patience`` steps
        in a row without a finite loss, once it is asked for, or where ``validate`` gives none.
        """
        self.objective.train()
        total, every = self.config.steps, self.config.snapshot_every
        with tqdm(
            total=total, initial=self.step, desc="train", unit="step", disable=bars.hidden()
        ) as progress:
            while self.step < total:
                metrics = self._advance()
                self._show(progress)
                yield metrics
                ends = self.step == total
                if self.state.snapshots is not None and (self.step % every == 0 or ends):
                    self.state.snapshots.save(self.folder, self._recorded_spec())
                if self.step % self.config.save_every == 0 or ends:
                    self.save(math.inf if validate is None else self._finite(validate(self)))
                    if on_save is not None:
                        on_save(self)
        # A run killed between its last checkpoint and its model.
        if processes.from_first(not (self.folder / MODEL).exists()):
            self._save_model(MODEL)

    def _finite(self, value: float) -> float:
        """A validation loss; Diverged if it is none, before the last good checkpoint is lost."""
        if not math.isfinite(value):
            raise Diverged(
                f"lr={self.config.lr:g}: the averaged weights of step {self.step} give a loss of "
                f"{value} on held-out images; lower lr"
            )
        return value

    def _advance(self) -> dict[str, Any]:
        """One optimizer step, left out if its loss or gradient is not finite."""
        began = time.perf_counter()
        step, config, state = self.step + 1, self.config, self.state
        lr = config.lr * self.parts.schedule.share(step, config.warmup, config.steps)
        for parameter in self._parameters:
            parameter.grad = None
        value, losses, sigma = self._gradient(step)
        length = clip(self._parameters, config.clip)
        state.optimize(lr, state.watch.judge(step, value, length, losses, sigma))
        state.update(step)
        if step % config.save_every and step < config.steps:  # a save has all that was drawn
            self._ahead = self._drawn(step + 1)
        if not all(step % n for n in (ASKED, config.save_every)) or step == config.steps:
            self._ask()
        return {"step": step, "loss": value, "lr": lr, "seconds": time.perf_counter() - began}

    def _drawn(self, step: int) -> Batch:
        """This process's rows of step's batch."""
        part = processes.rank(), processes.size()
        return self.batches.draw(step, part, self.device, self.config.torch_dtype)

    def _gradient(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the mean loss of step's batch, in ``.grad``.

        Returns that mean [], over all processes, and this one's losses and noise levels [B].
        """
        config, rank, size = self.config, processes.rank(), processes.size()
        share = self._drawn(step) if self._ahead is None else self._ahead
        self._ahead = None
        losses = []
        with self._dropout(step * size + rank):
            for i, batch in enumerate(share.split(config.accumulate)):
                with processes.synchronised(self.replica, now=i == config.accumulate - 1):
                    loss = self.replica(batch)
                    # Gradients are added up over parts and averaged over processes.
                    (loss.sum() * (size / config.batch_size)).backward()
                losses.append(loss.detach())
        mean = processes.total(torch.cat(losses).sum()) / config.batch_size
        return mean, torch.cat(losses), share.sigma

    @contextmanager
    def _dropout(self, index: int) -> Iterator[None]:
        """Dropout draws from a stream of its own, that of ``index``: of a step and a process."""
        seed = derived_seed(self.config.seed, Stream.DROPOUT, index)
        with torch.random.fork_rng([] if self.device.type == "cpu" else [self.device]):
            # Not torch.manual_seed, which also sees to devices that are not there, in 1 ms or so.
            torch.default_generator.manual_seed(seed)
            if self.device.type != "cpu":
                torch.get_device_module(self.device).manual_seed(seed)
            yield

    def _ask(self) -> None:
        """What the steps since the last question came to; Diverged if to no finite loss."""
        if (trouble := self.state.watch.asked()) is None:
            return
        rows = [
            row
            for own in processes.from_all((trouble.losses, trouble.sigma))
            for row in zip(*own, strict=True)
        ]
        _, level = max(rows, key=lambda row: row[0] if math.isfinite(row[0]) else math.inf)
        raise Diverged(
            f"lr={self.config.lr:g}: no finite loss or gradient in {self.config.patience} "
            f"steps in a row, the last at step {trouble.step}, noise level {level:.4g}; "
            "lower lr, or set precision=float32"
        )

    def _show(self, progress: Any) -> None:
        """The smoothed loss and the images a second beside the bar, whose time left is its own."""
        progress.update()
        shown = {"loss": f"{self.state.watch.known:.4f}"}
        if (rate := progress.format_dict["rate"]) is not None:
            shown["images/s"] = f"{rate * self.config.batch_size:.0f}"
        progress.set_postfix(shown, refresh=False)

    def _recorded_spec(self) -> Spec:
        return replace(self.spec, step=self.step, config={**self.spec.config, "run": self._run})

    def save(self, value: float = math.inf) -> None:
        """Write the checkpoint to resume from; the best model if ``value`` says so, and the last.

        The best model is written first: a run killed in between makes it again.
        """
        if value < self.state.best:
            self.state.best = value
            self._save_model(BEST)
        self.checkpoints.write(self._recorded_spec(), self.state.tensors())
        if self.step >= self.config.steps:
            self._save_model(MODEL)

    def _save_model(self, name: str) -> None:
        """The averaged weights alone, in half precision."""
        half = {
            key: value.to(torch.float16) if value.is_floating_point() else value
            for key, value in self.state.ema.network.state_dict().items()
        }
        save_checkpoint(self.folder / name, self._recorded_spec(), prefixed("model.", half))
