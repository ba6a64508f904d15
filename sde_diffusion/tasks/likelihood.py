"""``sde-diffusion likelihood``: bits a dimension of held-out images under a model."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.config.choices import choice
from sde_diffusion.config.compose import build, plain, read
from sde_diffusion.data import ImageSet
from sde_diffusion.data.splits import both_splits
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.models.model import PRECISIONS, guided, load
from sde_diffusion.process.noise import VERSION
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.encode import SIGMA_MAX, SIGMA_MIN
from sde_diffusion.sampling.likelihood import (
    Likelihood,
    bits_per_dim,
    dequantise,
    isotropic,
    moment_matched,
)
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.resume import NOISE, in_parts, settled
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.run import job, provenance

FORMAT = 1


@dataclass
class LikelihoodTask:
    """Keys of the task."""

    checkpoint: str
    n: int
    prior: str
    sigma_min: float | None
    sigma_max: float | None
    error: float
    probes: int | None
    label: Any
    seed: int
    batch_size: int
    precision: str
    device: str


def matched(data: ImageSet) -> GaussianDenoiser:
    """The reference with the moments of dequantised images, those of the uniform u exact."""
    x = data.images.flatten(1).double()
    uniform = torch.eye(x.shape[1], dtype=torch.float64) / 12
    return moment_matched((x.mean(0) + 0.5) / 128 - 1, (torch.cov(x.T) + uniform) / 128**2)


def run(config: DictConfig, folder: Path) -> float:
    """Write result.json and bits_per_dim.csv into ``folder``; returns the mean bits a dimension."""
    task = read(config, LikelihoodTask)
    device = usable_device(task.device)
    choice("prior", task.prior, ["isotropic", "moment_matched"])
    data, test = (part.as_pictures() for part in both_splits(config))
    if not 1 <= task.n <= len(test):
        raise InputError(f"n={task.n}: {test.name} has {len(test)} images; give 1 .. {len(test)}")
    if task.batch_size < 1:
        raise InputError(f"batch_size={task.batch_size}: give a number >= 1")
    model = load(task.checkpoint, PRECISIONS[choice("precision", task.precision, PRECISIONS)])
    denoiser = guided(config, model.denoiser)
    shape = tuple(test.images.shape[1:])
    if shape != denoiser.shape:
        raise InputError(f"data: images {shape} are not the model's {denoiser.shape}")
    d = math.prod(shape)
    model.denoiser.to(device).requires_grad_(False)
    seeds = range(task.seed, task.seed + task.n)
    label = task.label
    if label == "all" and model.classes and test.labels is not None:
        label = test.labels[: task.n].tolist()
    cond = model.condition(label, seeds)
    likelihood = Likelihood.build(
        build(config.sde, "sde", SDE), denoiser, isotropic(d),
        max(SIGMA_MIN, denoiser.sigma_min) if task.sigma_min is None else task.sigma_min,
        min(SIGMA_MAX, denoiser.sigma_max) if task.sigma_max is None else task.sigma_max,
        task.error, task.probes,
    )  # fmt: skip
    # Last, since it takes a while: all that can be refused has been.
    if task.prior == "moment_matched":
        likelihood = replace(likelihood, prior=matched(data))
    likelihood.prior.to(device)

    def part(rows: slice) -> dict[str, Tensor]:
        x = dequantise(test.images[: task.n][rows], seeds[rows]).to(device)
        found = likelihood(x, seeds[rows], None if cond is None else cond[rows].to(device))
        spent = torch.tensor([[found.evaluations, found.products]]).expand(len(x), 2)
        return {"log_p": found.log_p, "standard_error": found.standard_error, "spent": spent}

    start = time.perf_counter()
    depends: Mapping[str, Any] = {
        **{key: value for key, value in plain(config).items() if key not in ("tracker", "n")},
        "model": model.fingerprint, "train": data.fingerprint, "test": test.fingerprint,
        NOISE: VERSION,
    }  # fmt: skip
    depends = settled(folder, depends, task.n, task.batch_size)
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder))
        made = in_parts(folder, depends, task.n, task.batch_size, part, "likelihood")
        bits = bits_per_dim(made["log_p"], d)
        per_image = made["standard_error"] / (d * math.log(2))
        own = None if bool(per_image.isnan().any()) else float(per_image.square().mean().sqrt())
        result = {
            "format": FORMAT,
            "bits_per_dim": float(bits.mean()),
            # Over images; what the probes add to it is within it.
            "standard_error": float(bits.std() / task.n**0.5) if task.n > 1 else None,
            "hutchinson_standard_error": None if own is None else own / task.n**0.5,
            "hutchinson_standard_error_an_image": own,
            "n": task.n,
            "evaluations": float(made["spent"][:, 0].mean()),
            "products": float(made["spent"][:, 1].mean()),
            "dequantisation": "uniform, (k + u) / 128 - 1, offset 7",
            NOISE: depends.get(NOISE, 1),
            "prior": task.prior,
            "data": test.name,
            "data_fingerprint": test.fingerprint,
            "seconds": time.perf_counter() - start,
            **provenance(model, config),
        }
        rows = zip(bits.tolist(), per_image.tolist(), strict=True)
        lines = [f"{k},{value:.6f},{error:.6f}" for k, (value, error) in enumerate(rows)]
        head = "image,bits_per_dim,hutchinson_standard_error"
        write_atomically(folder / "bits_per_dim.csv", "\n".join([head, *lines, ""]).encode())
        write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
        tracker.log({"bits_per_dim": result["bits_per_dim"]}, 0)
    band = f" +- {result['standard_error']:.4f}" if task.n > 1 else ""
    probes = f", of which probes {own / task.n**0.5:.4f}" if own else ""
    print(f"{test.name}, {task.n} image{'s' * (task.n > 1)}: {result['bits_per_dim']:.4f}{band} "
          f"bits/dim (standard error over images{probes}): {folder}")  # fmt: skip
    return float(bits.mean())
