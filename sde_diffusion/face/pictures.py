"""Images as a user of Python has them: samples, tensors, arrays, image sets, folders, names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.data import DataSource, load_images
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.metrics.cache import cached_reference
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import as_drawn, images_of, reference_for
from sde_diffusion.sampling.samples import Samples

PICTURES = (
    "samples, a tensor or array of images [N, C, H, W] (uint8, or floats in -1 .. 1), a folder, "
    ".zip or .npz, or a data set"
)
MOST_CHANNELS = 4
# Above this no picture is in -1 .. 1, by any model's error.
BRIGHTEST = 16


def of_samples(drawn: Samples) -> ImageSet:
    """Samples with their classes, where each is of one."""
    labels = [] if drawn.labels is None else [n for n in drawn.labels if n is not None]
    if len(labels) < len(drawn):
        return ImageSet(drawn.images, None, 0, "samples")
    numbers = torch.tensor(labels, dtype=torch.int64)
    classes = 1 + max(labels)
    return ImageSet(drawn.images, numbers, classes, "samples", labels_set=True)


def image_set(key: str, source: Any) -> ImageSet:
    """Pictures from whatever was given; InputError names ``key``."""
    if isinstance(source, ImageSet):
        return source.as_pictures()
    if isinstance(source, DataSource):
        return source.read().as_pictures()
    if isinstance(source, Samples):
        return of_samples(source)
    if isinstance(source, str | Path):
        if not str(source):
            raise InputError(f"{key}: an empty path; give {PICTURES}")
        return load_images(str(source), key)
    return ImageSet(_pixels(key, values.tensor(key, source, PICTURES)), None, 0, "images in memory")


def _pixels(key: str, x: Tensor) -> Tensor:
    """uint8 [N, C, H, W] of a tensor that may be floats in -1 .. 1, never of another range."""
    shape = tuple(x.shape)
    if x.ndim != 4 or not x.numel():
        raise InputError(f"{key}: {shape}; give images [N, C, H, W]")
    if shape[1] > MOST_CHANNELS >= shape[3]:
        raise InputError(
            f"{key}: {shape}, channels last; give channels first, x.transpose(0, 3, 1, 2) of an "
            "array, x.permute(0, 3, 1, 2) of a tensor"
        )
    if not x.is_floating_point():
        low, high = int(x.min()), int(x.max())
        if low < 0 or high > 255 or high == 1:
            raise InputError(f"{key}: whole numbers {low} .. {high}; give grey levels, 0 .. 255")
        return x.cpu().to(torch.uint8).contiguous()
    darkest, brightest = float(x.min()), float(x.max())
    if brightest > BRIGHTEST:
        raise InputError(
            f"{key}: values {darkest:g} .. {brightest:g}; give uint8, or floats in -1 .. 1"
        )
    if darkest >= 0 and brightest > 0:
        raise InputError(
            f"{key}: floats {darkest:g} .. {brightest:g}, none negative; give 2 * x - 1, which is "
            "in -1 .. 1, or uint8"
        )
    return to_uint8(x.cpu())


def reference_images(reference: Any) -> ImageSet | None:
    """The images of a reference; None of one that holds statistics, and of the one that is
    shipped."""
    if reference is None or isinstance(reference, ReferenceSet):
        return None
    if isinstance(reference, str | Path):
        if not str(reference):
            raise InputError(f"reference: an empty path; give {PICTURES}, or a reference file")
        return images_of(str(reference))
    return image_set("reference", reference)


def reference_set(
    reference: Any,
    extractor: Extractor,
    images: ImageSet | None,
    drawn: Sequence[int] | None = None,
) -> ReferenceSet:
    """What images are judged by: images, a reference, or None for the one that is shipped.

    Args:
        images: those of ``reference``, by ``reference_images``.
        drawn: the shape (C, H, W) of the images to be judged, where a model draws them: images of
            a reference are brought to its channels.
    """
    if isinstance(reference, ReferenceSet):
        if reference.extractor_fingerprint != extractor.fingerprint:
            raise InputError(
                f"reference: made with extractor {reference.extractor} "
                f"{reference.extractor_fingerprint}, not {extractor.name} "
                f"{extractor.fingerprint}; give extractor= that one, or images"
            )
        return reference
    if images is None or isinstance(reference, str | Path):
        return reference_for(
            extractor, None if reference is None else str(reference), images, drawn
        )
    held_out = None
    if isinstance(reference, DataSource) and reference.fields().get("split") == "train":
        held_out = reference.changed(split="test").read()
    if drawn is not None:
        where = f"reference={images.name}"
        images = as_drawn(images, drawn, extractor, where)
        held_out = held_out and as_drawn(held_out, drawn, extractor, where)
    return cached_reference(extractor, images, held_out)
