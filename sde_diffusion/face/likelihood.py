"""Bits a dimension of images under a model, from Python."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.config.options import Options
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.guides import guides_of
from sde_diffusion.face.keywords import keywords
from sde_diffusion.face.pictures import image_set
from sde_diffusion.face.rows import Rows
from sde_diffusion.guidance import guided
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.sampling.likelihood import bits_per_dim
from sde_diffusion.system.devices import usable_device
from sde_diffusion.tasks.likelihood import (
    density_of,
    errors,
    likelihood_of,
    matched,
    own_labels,
    summary,
)


@final
class BitsPerDim(Rows):
    """One row an image: ``bits_per_dim``, and the standard error of its probes.

    Attributes:
        mean: bits a dimension of all images.
        standard_error: of the mean, over images; None of one.
        hutchinson_standard_error: the part of it that the probes are; None where they are too few.
        evaluations, products: denoiser calls, and vector-Jacobian products, an image.
    """

    stem = "likelihood"

    def __init__(self, bits: Tensor, of_probes: Tensor, spent: Tensor) -> None:
        pairs = zip(bits.tolist(), of_probes.tolist(), strict=True)
        super().__init__(
            [
                {"image": k, "bits_per_dim": value, "hutchinson_standard_error": error}
                for k, (value, error) in enumerate(pairs)
            ]
        )
        facts = errors(bits, of_probes)
        self.mean = float(bits.mean())
        self.standard_error = facts["standard_error"]
        self.hutchinson_standard_error = facts["hutchinson_standard_error"]
        self.evaluations, self.products = spent.mean(0).tolist()
        self._line = summary(facts, len(bits))

    def __float__(self) -> float:
        return self.mean

    def __str__(self) -> str:
        return self._line

    def __repr__(self) -> str:
        return f"BitsPerDim({self._line})"


@keywords("sde", "guidance")
def likelihood(
    self: OpenedModel,
    images: Any,
    label: Any = "all",
    *,
    moments_of: Any = None,
    sde: Any = "edm",
    guidance: Any = (),
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    error: float = 0.01,
    probes: int | None = 4,
    seed: int = 0,
    batch_size: int = 64,
    device: Any = "cpu",
    progress: bool = False,
    **options: Any,
) -> BitsPerDim:
    """What ``Model.likelihood`` says, for any opened model."""
    pictures, fields = image_set("images", images), Options.of(options, ("sde", "guidance"))
    first, size = values.whole("seed", seed, 0), values.whole("batch_size", batch_size, 1)
    seeds, where = range(first, first + len(pictures)), usable_device(str(device))
    denoiser = guided(self.denoiser, guides_of(fields, guidance))
    fitted_to = None if moments_of is None else image_set("moments_of", moments_of)
    if fitted_to is not None and fitted_to.images.shape[1:] != pictures.images.shape[1:]:
        shape = tuple(fitted_to.images.shape[1:])
        raise InputError(f"moments_of: images {shape} are not those judged; give such as they are")
    low, high = (
        None if level is None else values.number(key, level)
        for key, level in (("sigma_min", sigma_min), ("sigma_max", sigma_max))
    )
    count = None if probes is None else values.whole("probes", probes, 1)
    process, tolerance = fields.one("sde", sde), values.number("error", error)
    flow = likelihood_of(pictures, process, denoiser, (low, high), tolerance, count, "images")
    cond = self.condition({"label": own_labels(self, label, pictures, "images")}, seeds)
    bar = values.truth("progress", progress)
    if fitted_to is not None:  # last, since it takes a while
        flow = replace(flow, prior=matched(fitted_to))
    denoiser.to(where)
    part, batches = density_of(flow, pictures, seeds, cond, where), []
    with tqdm(total=len(pictures), desc="likelihood", unit="image", disable=not bar) as drawn:
        for rows in (slice(k, k + size) for k in range(0, len(pictures), size)):
            batches.append(part(rows))
            drawn.update(len(batches[-1]["log_p"]))
    whole = {name: torch.cat([each[name] for each in batches]) for name in batches[0]}
    d = pictures.images[0].numel()
    of_probes = whole["standard_error"] / (d * math.log(2))
    return BitsPerDim(bits_per_dim(whole["log_p"], d), of_probes, whole["spent"])
