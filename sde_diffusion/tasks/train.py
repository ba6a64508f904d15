"""``sde-diffusion train``: a score network from a data set, resumed by rerunning the command."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sde_diffusion.codecs import PIXELS, Codec
from sde_diffusion.codecs.autoencoder import Autoencoder
from sde_diffusion.conditions.condition import LAYOUT, TEXT
from sde_diffusion.conditions.labels import Labels
from sde_diffusion.config import groups
from sde_diffusion.config.compose import build, plain
from sde_diffusion.config.schema import converted
from sde_diffusion.data.latents import encoded
from sde_diffusion.data.splits import both_splits
from sde_diffusion.denoisers import parameterization as parameterizations
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.parameterization import Parameterization
from sde_diffusion.denoisers.space import Kind
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.sheet import png_bytes, shown
from sde_diffusion.models.sources.latents.autoencoder import BESIDE as CODEC
from sde_diffusion.models.sources.latents.autoencoder import keep_beside, open_autoencoder, recorded
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks import Network, registry
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.system import bars
from sde_diffusion.system.identity import identity
from sde_diffusion.system.notice import notice
from sde_diffusion.system.output import Output
from sde_diffusion.system.processes import from_first, local_device, rank
from sde_diffusion.tasks.run import Run
from sde_diffusion.training.augment import Augment, AugmentChain
from sde_diffusion.training.compatible import text_of
from sde_diffusion.training.ema import EMA
from sde_diffusion.training.given import condition_of, described, network_sizes, with_text
from sde_diffusion.training.levels import NoiseLevels
from sde_diffusion.training.schedule import Schedule
from sde_diffusion.training.settings import BESIDE, TrainConfig
from sde_diffusion.training.trainer import ASKED, Parts, Trainer
from sde_diffusion.training.unused import unused
from sde_diffusion.training.validation import validation_losses
from sde_diffusion.training.weighting import Weighting

DRAWN, POINTS = 40, 2000
DESCRIBED = ("weighting", "augment", "schedule", "ema")
FILES = ("root", "path", "captions")  # arguments of data sets that name files
RANGE = ("sigma_min", "sigma_max")  # noise levels that the model may be asked at


def run(config: DictConfig, folder: Path) -> float:
    """Train in ``folder``, or go on where it stopped; returns the last validation loss."""
    with Run(config, folder, TrainConfig, *BESIDE) as job:
        device, parts = local_device(job.device), components(config)
        sde: SDE = build(config.sde, "sde", SDE)
        codec = autoencoder(config)
        data, held_out = with_text(*both_splits(config), text_of(job.task.init))
        if codec is not None:
            data, held_out = (encoded(each, codec, device) for each in (data, held_out))
        spec = specified(config, data, parts.augment, codec)
        for line in unused(job.task, data):
            notice(line)
        trainer = Trainer(spec, data, parts, job.task, folder, device)
        if codec is not None and rank() == 0:
            keep_beside(codec, folder)
        job.begin(data.name)
        draw = drawer(sde, held_out, codec or PIXELS)
        loss = run_training(trainer, held_out, draw, job.output)
        job.result(
            {
                "data": data.name,
                "loaded": {"train": data.described, "held_out": held_out.described},
                "steps": trainer.step,
                "validation_loss": loss,
                "seconds": job.seconds,
            }
        )
    if rank() == 0:
        print(f"validation loss {loss:.4f}: {folder}")
        here = shlex.quote(f"hydra.run.dir={folder}")
        print(f"to train longer, type the same with {here} and more steps than {trainer.step}")
    return loss


def components(config: DictConfig) -> Parts:
    """The components of ``config``, and how a checkpoint describes them."""
    return Parts(
        build(config.levels, "levels", NoiseLevels),
        build(config.weighting, "weighting", Weighting),
        augmentation(config),
        build(config.schedule, "schedule", Schedule),
        build(config.ema, "ema", EMA),
        identity({name: plain(config.get(name)) or {} for name in DESCRIBED}),
    )


def augmentation(config: DictConfig) -> AugmentChain:
    """The changes that ``augment=`` lists, in its order."""
    listed = (config.get("augment") or {}).items()
    return AugmentChain([build(node, f"augment.{name}", Augment) for name, node in listed])


def autoencoder(config: DictConfig) -> Autoencoder | None:
    """That of ``codec=``; InputError beside what changes pictures, which are latents by then."""
    if (folder := converted(config.codec, str | None, "codec")) is None:
        return None
    if config.get("augment"):
        raise InputError(
            f"augment={','.join(config.augment)}: changes pictures, and the codec makes latents of "
            "them before; leave one of the two out"
        )
    return open_autoencoder(folder)


def specified(
    config: DictConfig, data: ImageSet, augment: Augment, codec: Autoencoder | None = None
) -> Spec:
    """The model that ``config`` describes, of the shape and with the labels of the data."""
    parameterization = build(config.parameterization, "parameterization", Parameterization)
    network, arguments = groups.read(
        plain(config.network), "network", Network, without=groups.FROM_DATA["network"]
    )
    shape = tuple(data.images.shape[1:])
    sizes: dict[str, Any] = {"channels": shape[0], "classes": data.classes}
    sizes |= network_sizes(data)
    if augment.labels:
        sizes["augment"] = augment.labels
    low, high = (converted(config[key], float, key) for key in RANGE)
    return Spec(
        network=registry.registered(network),
        network_args={**arguments, **sizes},
        parameterization=parameterizations.registered(parameterization),
        parameterization_args=parameterization.fields(),
        shape=shape,
        sigma_min=low,
        sigma_max=high,
        classes=data.classes,
        class_names=data.class_names,
        data=data.name,
        config=_recorded(config, codec),
        kind=Kind.LATENTS.value if codec else "",
        conditions=described(data),
    )


def _recorded(config: DictConfig, codec: Autoencoder | None) -> dict[str, Any]:
    """``config`` as the files keep it, without the folders in which this machine has its files."""
    kept: dict[str, Any] = {**plain(config), CODEC: codec and recorded(codec)}
    kept["init"] = kept["init"] and _names(kept["init"])
    data = kept["data"]
    kept["data"] = {k: _names(v) if k in FILES and v else v for k, v in data.items()}
    return kept


def _names(paths: str | list[str]) -> str | list[str]:
    """The last part of a path, or of each of several."""
    return Path(paths).name if isinstance(paths, str) else [Path(path).name for path in paths]


def drawer(sde: SDE, data: ImageSet, codec: Codec = PIXELS) -> Callable[[Denoiser], bytes]:
    """A PNG of ``DRAWN`` images of a denoiser, or ``POINTS`` vectors, the same seeds each time.

    ``codec`` makes pictures of what is drawn.

    Images are under the labels in turn, or under the captions of ``data``.
    """

    def draw(denoiser: Denoiser) -> bytes:
        seeds = list(range(DRAWN if len(denoiser.shape) > 1 else POINTS))
        cond = Labels(data.classes).encode({"label": "all"}, seeds)
        if data.given:  # as the first held-out images are described, in words alone if there are
            cond = condition_of(data, torch.arange(len(seeds)) % len(data), "cpu")
            if TEXT in data.given and cond is not None:
                cond = cond.dropped(None, LAYOUT)
        grid = Karras(sigma_min=denoiser.sigma_min, sigma_max=denoiser.sigma_max)
        sampler = Sampler.build(sde, denoiser, DPMpp2M(), grid)
        execution = Execution(128 if len(seeds) == DRAWN else POINTS)
        drawn = sampler.sample(Request(seeds, 16, cond), execution)
        # Labels are in rotation: a column a class, where a row holds them all.
        columns = data.classes if 1 < data.classes <= DRAWN // 2 else None
        return png_bytes(shown(codec.decode(drawn.x), columns))

    return draw


def run_training(
    trainer: Trainer, held_out: ImageSet, draw: Callable[[Denoiser], bytes], output: Output
) -> float:
    """Train to the end and return the last validation loss, the mean over noise levels.

    Logged every ``ASKED`` steps and at every save: the mean ``loss`` since the last log,
    ``lr``, ``skipped`` and ``images/s``, the time of saves left out.
    At every save: the loss on held-out images at each of eight noise levels (``val/loss`` is
    their mean, ``val/sigma=...`` the parts), ``best.safetensors`` if it is the lowest so far,
    ``checkpoint.safetensors``, then ``samples_STEP.png`` (the PNG that ``draw`` makes of the
    averaged weights). At the end: ``model.safetensors``. An interrupted run keeps its last
    checkpoints, and the same call goes on from there.

    Of several processes all do this on their share of each batch, and validate and draw alike;
    rank 0 writes.
    """
    every = trainer.config.save_every, ASKED
    losses = Losses(trainer.config.batch_size)
    last: dict[str, float] = {}

    def validate(trainer: Trainer) -> float:
        levels = validation_losses(trainer.ema_denoiser(), held_out, device=trainer.device)
        last.update({f"val/sigma={sigma:.3g}": loss for sigma, loss in levels.items()})
        last["val/loss"] = sum(levels.values()) / len(levels)
        output.log(dict(last), trainer.step)  # before the checkpoint: a kill loses no row
        if bars.hidden() and rank() == 0:  # a log without a bar tells how far it is
            print(f"step {trainer.step}: validation loss {last['val/loss']:.4f}", flush=True)
        return last["val/loss"]

    def on_save(trainer: Trainer) -> None:
        # That an early average diverges, say, is no reason to end a run.
        output.picture(picture_of(trainer), lambda: draw(trainer.ema_denoiser()), "samples")

    if trainer.step and from_first(not (output.folder / picture_of(trainer)).exists()):
        on_save(trainer)  # a run killed between its last checkpoint and the picture
    for metrics in trainer.run(validate, on_save):
        losses.add(metrics)
        # At each save too, since a run that goes on from there has heard of no step before.
        if trainer.step == trainer.config.steps or not all(trainer.step % n for n in every):
            output.log(losses.taken(int(trainer.state.watch.skipped)), trainer.step)
    return last["val/loss"] if last else validate(trainer)


def picture_of(trainer: Trainer) -> str:
    """The name of the picture of samples after so many steps."""
    return f"samples_{trainer.step}.png"


class Losses:
    """The steps since the last line of the log, each of ``batch_size`` images."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.steps: list[dict[str, Any]] = []

    def add(self, metrics: dict[str, Any]) -> None:
        """One more step."""
        self.steps.append(metrics)

    def taken(self, skipped: int) -> dict[str, float]:
        """The mean finite loss and the images a second of all steps, which are then forgotten, and
        the rate at the last."""
        finite = list(filter(math.isfinite, torch.stack([s["loss"] for s in self.steps]).tolist()))
        seconds = sum(step["seconds"] for step in self.steps)
        line = {
            "loss": sum(finite) / len(finite) if finite else math.nan,
            "lr": self.steps[-1]["lr"],
            "skipped": skipped,
            "images/s": self.batch_size * len(self.steps) / seconds,
        }
        self.steps.clear()
        return line
