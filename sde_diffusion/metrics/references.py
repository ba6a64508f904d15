"""Which reference a task judges by."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sde_diffusion.config import groups
from sde_diffusion.data import load_held_out, load_images
from sde_diffusion.data.archive import arrays, names_of
from sde_diffusion.data.npz import NAMES, STATISTICS
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.cache import cached_reference
from sde_diffusion.metrics.extractors import CnnExtractor, Extractor
from sde_diffusion.metrics.extractors.fitting import usual
from sde_diffusion.metrics.reference import PUBLISHED, REFERENCE, ReferenceSet
from sde_diffusion.metrics.stats import LIMIT, FeatureStats
from sde_diffusion.system.storage import asset

NONE = " "  # begins the name of no tensor


def judged_by(extractor: Extractor, reference: ReferenceSet) -> dict[str, Any]:
    """What a distance depends on beside the images that it judges."""
    return {
        "metric": extractor.metric,
        "extractor": extractor.name,
        "extractor_fingerprint": extractor.fingerprint,
        "reference": reference.name,
        "reference_fingerprint": reference.data_fingerprint,
        "reference_n": reference.stats.n or None,
        "held_out_fingerprint": reference.held_out_fingerprint,
    }


def making(shape: Sequence[int], extractor: Extractor | None, more: str = "") -> str:
    """The command that makes a reference of images of a shape (C, H, W), and what goes with it.

    Args:
        extractor: of the task that is to be given the reference; another one is named where it does
            not take the shape, or has no name that a command would know it by; None: it does not.
        more: keys of the command.
    """
    channels, height, width = shape
    chosen = next(
        " ".join([f"extractor={name}", *(f"extractor.{key}={v}" for key, v in fields.items())])
        for name, fields in usual(shape).items()
    )
    mine = extractor is not None and _takes(extractor, shape)
    named = f"extractor={extractor.name}" if extractor is not None and mine else chosen
    words = ["sde-diffusion reference data=folder data.path=FOLDER"]
    words += [f"data.size={height}"] if height == width else []
    words += ["data.grey=true"] if channels == 1 else []
    words += [named, *([more] if more else [])]
    fit = "" if height == width else " after resizing them"
    return f"'{' '.join(words)}'{fit}" + ("" if mine else f", with {named} here too")


def _takes(extractor: Extractor, shape: Sequence[int]) -> bool:
    """Whether it takes images of a shape (C, H, W), and has a name that a command knows it by."""
    if isinstance(extractor, CnnExtractor):
        named = extractor.name in groups.names("extractor")
        return named and extractor.shape == tuple(shape)
    return (extractor.name, {}) in usual(shape).items() or extractor.name == "inception"


def as_drawn(images: ImageSet, shape: Sequence[int], extractor: Extractor, where: str) -> ImageSet:
    """The images in the channels of those that a model draws, of ``shape`` (C, H, W); InputError if
    they cannot be, or are of a size that the extractor does not take."""
    images = images.with_channels(shape[0], where, "what the model draws")
    size = tuple(images.images.shape[2:])
    if size != tuple(shape[1:]):
        try:
            extractor(images.images[:1])
        except InputError as error:
            raise InputError(
                f"{where}: {size[0]} x {size[1]}, and the model draws {shape[1]} x {shape[2]}; "
                f"give a reference of that size, {making(shape, extractor)}"
            ) from error
    return images


def images_of(reference: str | None) -> ImageSet | None:
    """The images that ``reference`` names; None of statistics, whether a file's or the shipped."""
    if reference is None or reference.endswith(".safetensors") or holds_statistics(reference):
        return None
    return load_images(reference, key="reference")


def shape_seen(
    images: ImageSet, reference: str | ReferenceSet | None, real: ImageSet | None
) -> tuple[int, ...]:
    """The shape (C, H, W) in which an extractor sees ``images``: that of the reference, to whose
    channels they are brought, where it says.

    Args:
        real: the images of the reference, if it is of any.
    """
    shape: tuple[int, ...] = ()
    if real is not None:
        shape = tuple(real.images.shape[1:])
    elif isinstance(reference, ReferenceSet):
        shape = reference.shape
    elif reference is not None and reference.endswith(".safetensors"):
        with contextlib.suppress(InputError):  # which loading it says in full
            facts = REFERENCE.read(asset(reference), "reference", lambda facts, _: facts, NONE)
            shape = tuple(map(int, facts["shape"]))
    return shape or tuple(images.images.shape[1:])


def reference_for(
    extractor: Extractor,
    reference: str | None,
    images: ImageSet | None = None,
    drawn: Sequence[int] | None = None,
) -> ReferenceSet:
    """The reference that ``reference`` names, with its ``images`` where they have been read.

    null: the one shipped for the extractor; a reference file; or images (a folder, .zip, .npz, or
    a data set by name, whose test split is held out), whose statistics are cached by content; an
    .npz of published statistics, ``mu`` and ``sigma``. ``drawn`` is the shape (C, H, W) of the
    images to be judged, where a model draws them.
    """
    if reference is not None and holds_statistics(reference):
        return published(extractor, reference)
    if images is None:
        images = images_of(reference)
    if reference is not None and images is not None:
        held_out, where = load_held_out(reference), f"reference={reference}"
        if drawn is not None:
            images = as_drawn(images, drawn, extractor, where)
            held_out = held_out and as_drawn(held_out, drawn, extractor, where)
        return cached_reference(extractor, images, held_out)
    path = asset(reference or f"{extractor.name}-reference")
    if reference is None and not path.is_file():
        raise InputError(
            f"reference: none is shipped for extractor {extractor.name}; give reference=FOLDER, "
            ".zip, .npz, a data set, or a file of 'sde-diffusion reference'"
        )
    return ReferenceSet.load(path, extractor)


def holds_statistics(path: str) -> bool:
    """Whether it is an archive of ``mu`` and ``sigma`` without images."""
    if not path.lower().endswith(".npz") or not Path(path).is_file():
        return False
    names = set(names_of(path, "reference"))
    return set(STATISTICS) <= names and not names & set(NAMES)


def published(extractor: Extractor, path: str) -> ReferenceSet:
    """Mean ``mu`` [d] and covariance ``sigma`` [d, d] of features, as FID's are handed around.

    Nothing in them says of which extractor or of how many images they are: their d is held against
    the extractor's, and no interval is given. InputError for what is no covariance.
    """
    where = f"reference={path}"
    held = arrays(path, "reference", STATISTICS)
    mu, sigma = held["mu"], held["sigma"]
    if {mu.dtype.kind, sigma.dtype.kind} != {"f"} or sigma.shape != (*mu.shape, *mu.shape):
        raise InputError(
            f"{where}: mu is {mu.dtype} {mu.shape}, sigma {sigma.dtype} {sigma.shape}; give floats "
            "[d] and [d, d]"
        )
    if mu.shape != (extractor.dim,):
        raise InputError(
            f"{where}: of {mu.size} features, and extractor={extractor.name} has {extractor.dim}; "
            "set extractor= to the one that they are of, inception for FID's"
        )
    # Also of other byte orders, and of more than 64 bits, which torch has not.
    mean, cov = (torch.from_numpy(value.astype(np.float64)) for value in (mu, sigma))
    if not (bool(mean.isfinite().all()) and bool(cov.isfinite().all())):
        raise InputError(f"{where}: mu or sigma is not finite; give another copy of it")
    if max(float(mean.abs().max()), float(cov.abs().max())) > LIMIT:
        raise InputError(f"{where}: mu or sigma is above 3.4e38; give another copy of it")
    spectrum = torch.linalg.eigvalsh(cov)
    if not torch.allclose(cov, cov.T, rtol=1e-4, atol=1e-6 * float(spectrum[-1].abs())) or (
        float(spectrum[0]) < -1e-4 * float(spectrum[-1].abs())
    ):
        raise InputError(f"{where}: sigma is no covariance; give another copy of it")
    digest = hashlib.sha256(mean.numpy().tobytes() + cov.numpy().tobytes()).hexdigest()[:16]
    none = torch.empty(0, len(mean), dtype=torch.float16)
    stats = FeatureStats(PUBLISHED, mean, (cov + cov.T) / 2)
    return ReferenceSet(
        Path(path).name, digest, "", (), extractor.name, extractor.fingerprint, stats, none, none
    )
