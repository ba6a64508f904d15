"""``sde-diffusion train``: a score network from a data set, resumed by rerunning the command."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from omegaconf import DictConfig

from sde_diffusion.config import groups
from sde_diffusion.config.compose import build, plain, read
from sde_diffusion.config.schema import converted
from sde_diffusion.data.splits import both_splits
from sde_diffusion.denoisers import parameterization as parameterizations
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.parameterization import Parameterization
from sde_diffusion.errors import DivergedError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.sheet import png_bytes, shown
from sde_diffusion.models.file import Spec
from sde_diffusion.models.model import Model
from sde_diffusion.networks import Network, registry
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.identity import identity
from sde_diffusion.system.processes import local_device, rank
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import NoTracker, Tracker
from sde_diffusion.tasks.run import job
from sde_diffusion.training.augment import Augment, AugmentChain
from sde_diffusion.training.ema import EMA
from sde_diffusion.training.levels import NoiseLevels
from sde_diffusion.training.schedule import Schedule
from sde_diffusion.training.settings import BESIDE, TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.validation import validation_losses
from sde_diffusion.training.weighting import Weighting

LOG_EVERY = 20
DRAWN, POINTS = 40, 2000
DESCRIBED = ("weighting", "augment", "schedule", "ema")
FROM_DATA = ("channels", "classes", "augment")  # what a network is told by the data
RANGE = ("sigma_min", "sigma_max")  # noise levels that the model may be asked at


class MetricLog(Protocol):
    """What training asks of a tracker."""

    def log(self, metrics: dict[str, float], step: int) -> None: ...

    def image(self, name: str, path: Path) -> None: ...


def run_training(
    spec: Spec,
    data: ImageSet,
    held_out: ImageSet,
    parts: Parts,
    config: TrainConfig,
    folder: Path,
    tracker: MetricLog,
    draw: Callable[[Denoiser], bytes],
    device: torch.device | str = "cpu",
) -> float:
    """Train to the end and return the last validation loss, the mean over noise levels.

    Logged every ``LOG_EVERY`` steps: the mean ``loss`` since the last log, ``lr``, ``skipped`` and
    ``images/s``, the time of saves left out.
    At every save: the loss on held-out images at each of eight noise levels (``val/loss`` is
    their mean, ``val/sigma=...`` the parts), ``best.safetensors`` if it is the lowest so far,
    ``checkpoint.safetensors``, then ``samples_STEP.png`` (the PNG that ``draw`` makes of the
    averaged weights). At the end: ``model.safetensors``. An interrupted run keeps its last
    checkpoints, and the same call goes on from there.

    Of several processes all do this on their share of each batch, and validate and draw alike;
    rank 0 writes.
    """
    trainer = Trainer(spec, data, parts, config, folder, device)

    def validate(trainer: Trainer) -> float:
        losses = validation_losses(trainer.ema_denoiser(), held_out, device=trainer.device)
        last.update({f"val/sigma={sigma:.3g}": loss for sigma, loss in losses.items()})
        last["val/loss"] = sum(losses.values()) / len(losses)
        tracker.log(dict(last), trainer.step)  # before the checkpoint: a kill loses no row
        return last["val/loss"]

    def on_save(trainer: Trainer) -> None:
        grid = folder / f"samples_{trainer.step}.png"
        try:
            picture = draw(trainer.ema_denoiser())
        except DivergedError as error:  # of an early average, say: no reason to end a run
            picture = None
            if rank() == 0:
                print(f"{grid.name}: not drawn ({error})", file=sys.stderr)
        if picture is not None and rank() == 0:
            write_atomically(grid, picture)
            tracker.image("samples", grid)

    last: dict[str, float] = {}
    losses: list[float] = []
    seconds = 0.0
    for metrics in trainer.run(validate, on_save):
        losses.append(metrics["loss"])
        seconds += metrics["seconds"]
        if trainer.step % LOG_EVERY == 0 or trainer.step == config.steps:
            finite = [loss for loss in losses if math.isfinite(loss)]
            mean = sum(finite) / len(finite) if finite else math.nan
            speed = config.batch_size * len(losses) / seconds
            logged = {"loss": mean, "lr": metrics["lr"], "skipped": metrics["skipped"]}
            tracker.log({**logged, "images/s": speed}, trainer.step)
            losses.clear()
            seconds = 0.0
    return last["val/loss"] if last else validate(trainer)


def drawer(sde: SDE, classes: int) -> Callable[[Denoiser], bytes]:
    """A PNG of ``DRAWN`` images of a denoiser, or ``POINTS`` vectors, the same seeds each time."""

    def draw(denoiser: Denoiser) -> bytes:
        seeds = list(range(DRAWN if len(denoiser.shape) > 1 else POINTS))
        cond = Model(denoiser, "training", classes=classes).condition("all", seeds)
        grid = Karras(sigma_min=denoiser.sigma_min, sigma_max=denoiser.sigma_max)
        sampler = Sampler.build(sde, denoiser, DPMpp2M(), grid)
        batch = 128 if len(seeds) == DRAWN else POINTS
        drawn = sampler.sample(Request(seeds, 16, cond), Execution(batch))
        # Labels are in rotation: a column a class, where a row holds them all.
        return png_bytes(shown(drawn.x, classes if 1 < classes <= DRAWN // 2 else None))

    return draw


def augmentation(config: DictConfig) -> AugmentChain:
    """The changes that ``augment=`` lists, in its order."""
    listed = (config.get("augment") or {}).items()
    return AugmentChain([build(node, f"augment.{name}", Augment) for name, node in listed])


def specified(config: DictConfig, data: ImageSet, augment: Augment) -> Spec:
    """The model that ``config`` describes, of the shape and with the labels of the data."""
    parameterization = build(config.parameterization, "parameterization", Parameterization)
    network, arguments = groups.read(plain(config.network), "network", Network, without=FROM_DATA)
    shape = tuple(data.images.shape[1:])
    given: dict[str, Any] = {"channels": shape[0], "classes": data.classes}
    if augment.labels:
        given["augment"] = augment.labels
    low, high = (converted(config[key], float, key) for key in RANGE)
    return Spec(
        network=registry.registered(network),
        network_args={**arguments, **given},
        parameterization=parameterizations.registered(parameterization),
        parameterization_args=parameterization.fields(),
        shape=shape,
        sigma_min=low,
        sigma_max=high,
        classes=data.classes,
        data=data.name,
        config=_recorded(config),
    )


def _recorded(config: DictConfig) -> dict[str, Any]:
    """``config`` as the files keep it, without the folders in which this machine has its data."""
    kept: dict[str, Any] = plain(config)
    data = kept["data"]
    kept["data"] = {k: Path(v).name if k in ("root", "path") and v else v for k, v in data.items()}
    return kept


def run(config: DictConfig, folder: Path) -> float:
    """Train in ``folder``, or go on where it stopped; returns the last validation loss."""
    train_config: TrainConfig = read(config, TrainConfig, *BESIDE)
    device = local_device(usable_device(str(config.device)))
    parts = Parts(
        build(config.levels, "levels", NoiseLevels),
        build(config.weighting, "weighting", Weighting),
        augmentation(config),
        build(config.schedule, "schedule", Schedule),
        build(config.ema, "ema", EMA),
        identity({name: plain(config.get(name)) or {} for name in DESCRIBED}),
    )
    sde: SDE = build(config.sde, "sde", SDE)
    data, held_out = both_splits(config)
    spec = specified(config, data, parts.augment)
    tracker: Tracker = NoTracker() if rank() else build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder, [data.name]))
        loss = run_training(spec, data, held_out, parts, train_config, folder, tracker,
                            drawer(sde, data.classes), device)  # fmt: skip
    if rank() == 0:
        print(f"validation loss {loss:.4f}: {folder}")
    return loss
