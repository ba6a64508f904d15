"""``sde-diffusion likelihood``: bits a dimension of held-out images under a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.choices import choice
from sde_diffusion.config.compose import build
from sde_diffusion.data import ImageSet
from sde_diffusion.data.splits import both_splits, fixed_order
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.denoisers.precision import recorded
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.noise import VERSION
from sde_diffusion.process.sde import SDE, SigmaMax, SigmaMin
from sde_diffusion.sampling.encode import SIGMA_MAX, SIGMA_MIN
from sde_diffusion.sampling.likelihood import (
    Likelihood,
    bits_per_dim,
    dequantise,
    isotropic,
    moment_matched,
)
from sde_diffusion.system.ranges import Batch, Seed, Within
from sde_diffusion.system.resume import NOISE, ROWS, in_parts, settled
from sde_diffusion.system.storage import csv_text
from sde_diffusion.tasks.run import Run


@dataclass
class LikelihoodTask:
    """Keys of the task."""

    checkpoint: str
    n: Annotated[int, Within("1 <= n")]
    prior: str
    sigma_min: SigmaMin | None
    sigma_max: SigmaMax | None
    error: Annotated[float, Within("1e-6 <= error <= 10")]
    probes: Annotated[int, Within("1 <= probes <= 100000")] | None
    label: Any
    seed: Seed
    batch_size: Batch
    precision: str
    channels_last: bool
    compile: bool
    device: str

    @property
    def seeds(self) -> range:
        """Of the images, for their dequantisation and their probes."""
        return range(self.seed, self.seed + self.n)

    def __post_init__(self) -> None:
        choice("prior", self.prior, ["isotropic", "moment_matched"])

    def check(self, test: ImageSet) -> None:
        """InputError if these images are fewer than ``n``."""
        if not 1 <= self.n <= len(test):
            raise InputError(
                f"n={self.n}: {len(test)} images of {test.name} are held out; give 1 .. {len(test)}"
            )


def run(config: DictConfig, folder: Path) -> float:
    """Write result.json and bits_per_dim.csv into ``folder``; returns the mean bits a dimension."""
    with Run(config, folder, LikelihoodTask) as job:
        task = job.task
        data, test = (part.as_pictures() for part in both_splits(config))
        task.check(test)
        chunk, d = job.execution.batch_size, test.images[0].numel()
        depends = settled(folder, dependencies(job, data, test), task.n, chunk)
        drawn = fixed_order(len(test)) if ROWS in depends else torch.arange(len(test))
        drawn = drawn[: task.n]
        density = log_density(job, data, test[drawn])
        job.begin()
        parts = in_parts(folder, depends, task.n, chunk, density, "likelihood")
        if job.helps:
            return 0.0
        bits = bits_per_dim(parts["log_p"], d)
        of_probes = parts["standard_error"] / (d * math.log(2))
        job.output.write("bits_per_dim.csv", csv_text(rows_of(bits, of_probes, drawn)))
        facts = errors(bits, of_probes)
        job.result(
            {
                **facts,
                **measured(task, test, parts["spent"]),
                NOISE: depends.get(NOISE, 1),
                ROWS: depends.get(ROWS, "the first"),
                "loaded": test.described,
                "seconds": job.seconds,
            }
        )
        job.output.log({"bits_per_dim": float(bits.mean())})
    print(f"{test.name}, {summary(facts, task.n)}: {folder}")
    return float(bits.mean())


def dependencies(job: Run[LikelihoodTask], data: ImageSet, test: ImageSet) -> dict[str, Any]:
    """What the log-densities depend on."""
    return {
        **job.recorded("tracker", "n", "channels_last", "compile"),
        "precision": recorded(job.task.precision),
        "model": job.model.fingerprint,
        "train": data.fingerprint,
        "test": test.fingerprint,
        NOISE: VERSION,
        ROWS: "drawn at random, always alike",
    }


def measured(task: LikelihoodTask, test: ImageSet, spent: Tensor) -> dict[str, Any]:
    """What was measured, on which images; ``spent`` evaluations and products of each [N, 2]."""
    return {
        "n": task.n,
        "evaluations": float(spent[:, 0].mean()),
        "products": float(spent[:, 1].mean()),
        "dequantisation": "uniform, (k + u) / 128 - 1, offset 7",
        "prior": task.prior,
        "data": test.name,
        "data_fingerprint": test.fingerprint,
    }


def log_density(
    job: Run[LikelihoodTask], data: ImageSet, images: ImageSet
) -> Callable[[slice], dict[str, Tensor]]:
    """log p of slices of the images, its standard error over probes, and what was spent."""
    task, sde = job.task, build(job.config.sde, "sde", SDE)
    ends = task.sigma_min, task.sigma_max
    likelihood = likelihood_of(images, sde, job.denoiser, ends, task.error, task.probes, "data")
    label = own_labels(job.model, task.label, images, "data")
    cond = job.model.condition({"label": label}, task.seeds)
    # Last, since it takes a while: all that can be refused has been.
    if task.prior == "moment_matched":
        likelihood = replace(likelihood, prior=matched(data))
    return density_of(likelihood, images, task.seeds, cond, job.device)


def likelihood_of(
    images: ImageSet,
    sde: SDE,
    denoiser: Denoiser,
    ends: tuple[float | None, float | None],
    error: float,
    probes: int | None,
    key: str,
) -> Likelihood:
    """That of these images by the isotropic prior; InputError for images of another shape.

    Args:
        sde, denoiser: whose probability flow it is, guided or not.
        ends: noise levels of image and prior, None for the model's.
        error: requested, in bits a dimension. probes: Rademacher vectors an image; None: the exact
            trace.
        key: what a message calls the images.
    """
    shape = tuple(images.images.shape[1:])
    if shape != denoiser.shape:
        resized = ", a folder's by data.size= and data.grey=" if key == "data" else ""
        raise InputError(
            f"{key}: images {shape} are not the model's {denoiser.shape}; give images of that "
            f"shape{resized}, or another model"
        )
    low, high = ends
    return Likelihood.build(
        sde,
        denoiser,
        isotropic(math.prod(shape)),
        max(SIGMA_MIN, denoiser.sigma_min) if low is None else low,
        min(SIGMA_MAX, denoiser.sigma_max) if high is None else high,
        error,
        probes,
    )


def own_labels(model: OpenedModel, label: Any, images: ImageSet, key: str) -> Any:
    """What ``label`` wishes: ``"all"`` is each image's own; InputError where it has none."""
    if not (isinstance(label, str) and label == "all" and model.classes):
        return label
    if images.labels is None:
        raise InputError(
            f"label=all: no labels in {key}, and the model would be told wrong ones; give a class, "
            "or label=null for no condition"
        )
    return images.labels


def density_of(
    likelihood: Likelihood,
    images: ImageSet,
    seeds: Sequence[int],
    cond: Condition | None,
    device: torch.device,
) -> Callable[[slice], dict[str, Tensor]]:
    """log p of some rows of the images, its standard error over probes, and what was spent."""
    likelihood.prior.to(device)

    def part(rows: slice) -> dict[str, Tensor]:
        x = dequantise(images.images[rows], seeds[rows]).to(device)
        density = likelihood(x, seeds[rows], None if cond is None else cond[rows].to(device))
        spent = torch.tensor([[density.evaluations, density.products]]).expand(len(x), 2)
        return {"log_p": density.log_p, "standard_error": density.standard_error, "spent": spent}

    return part


def matched(data: ImageSet) -> GaussianDenoiser:
    """The reference with the moments of dequantised images, those of the uniform u exact."""
    x = data.images.flatten(1).double()
    uniform = torch.eye(x.shape[1], dtype=torch.float64) / 12
    return moment_matched((x.mean(0) + 0.5) / 128 - 1, (torch.cov(x.T) + uniform) / 128**2)


def rows_of(bits: Tensor, of_probes: Tensor, images: Tensor) -> list[dict[str, str]]:
    """A row an image, by its number in the data set."""
    rows = zip(images.tolist(), bits.tolist(), of_probes.tolist(), strict=True)
    return [
        {
            "image": str(k),
            "bits_per_dim": f"{value:.6f}",
            "hutchinson_standard_error": f"{error:.6f}",
        }
        for k, value, error in rows
    ]


def errors(bits: Tensor, of_probes: Tensor) -> dict[str, float | None]:
    """The mean of bits [N] a dimension, and its standard error over images.

    What the probes add to it is within it, and stated apart; None where they are too few to tell.
    """
    n = len(bits)
    one = None if bool(of_probes.isnan().any()) else float(of_probes.square().mean().sqrt())
    return {
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std() / n**0.5) if n > 1 else None,
        "hutchinson_standard_error": None if one is None else one / n**0.5,
        "hutchinson_standard_error_an_image": one,
    }


def summary(facts: dict[str, float | None], n: int) -> str:
    """The mean with its errors, as a line."""
    mean = f"{n} image{'s' * (n > 1)}: {facts['bits_per_dim']:.4f}"
    one = facts["hutchinson_standard_error"]
    if facts["standard_error"] is None:
        return f"{mean} bits/dim" + (f" (standard error of the probes {one:.4f})" if one else "")
    probes = f", of which probes {one:.4f}" if one else ""
    band = f"{facts['standard_error']:.4f}"
    return f"{mean} +- {band} bits/dim (standard error over images{probes})"
