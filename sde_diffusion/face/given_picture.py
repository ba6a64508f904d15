"""One picture and its mask as a user of Python has them: paths, arrays, images of Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sde_diffusion.data.photos import anew_of, masks, measurement, photos
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.images.photo import WHITE_8, WHITE_16, photo_of
from sde_diffusion.images.pixels import from_levels
from sde_diffusion.operators.masks import MASK
from sde_diffusion.sampling.edit import Editor
from sde_diffusion.system.notice import notice

PICTURE = "a path, or a picture [C, H, W] or [H, W], uint8 or floats in -1 .. 1"
MASK_WORDS = "a path, or an array [H, W] of true and false, 0 and 1, or 0 .. 255"
COLOUR_AXES, COLOURS = 3, (1, 3, 4)  # of pictures [C, H, W], and how large C is


def picture_of(editor: Editor, image: Any, truth: bool) -> tuple[Tensor, int]:
    """A picture [C, H, W], -1 .. 1, or a measurement, and the white of its grey levels."""
    channels = editor.denoiser.space.pattern[0] or 1
    seen = channels if truth else editor.operator.seen(channels)
    if isinstance(image, str | Path):
        y = measurement(str(image))
        if y is not None:
            return y, WHITE_8
        read = photos(str(image), "image", seen)
        if len(read) > 1:
            raise InputError(f"image={image}: {len(read)} pictures; give one, or use the command")
        one = next(iter(read.values()))
        return one.x, one.white
    if isinstance(image, Image.Image):
        return of_pillow("image", image, seen, PICTURE)
    x = values.tensor("image", image, PICTURE).cpu()
    if x.dtype == torch.bool:
        raise InputError(f"image: true and false; give {PICTURE}")
    picture = truth or MASK in editor.operator.needs
    if len(editor.denoiser.space.pattern) == COLOUR_AXES and picture:
        x = _in_channels(_channels_first(x, seen), seen)
    if x.is_floating_point():
        return _of_floats(x, picture), WHITE_8
    low, high = (int(x.min()), int(x.max())) if x.numel() else (0, 0)
    if low < 0 or high == 1 or high > WHITE_16:
        raise InputError(f"image: whole numbers {low} .. {high}; give {PICTURE}")
    if high > WHITE_8:
        return from_levels(x, WHITE_16), WHITE_16
    return values.pixels("image", x, PICTURE), WHITE_8


def of_pillow(key: str, image: Image.Image, channels: int, like: str) -> tuple[Tensor, int]:
    """A picture [C, H, W] and the white of its grey levels, as a file of it would be read."""
    try:
        one = photo_of(image).in_channels(channels)
    except (ValueError, OSError) as error:
        raise _unread(key, error, like) from error
    for note in one.notes:
        notice(f"{key}: {note}")
    return one.x, one.white


def _unread(key: str, error: Exception, like: str) -> InputError:
    """The refusal of an image of Pillow, for the reason that ``error`` gives."""
    why = " ".join(str(error).split())
    return InputError(f"{key}: {why}" + ("" if ";" in why else f"; give {like}"))


def _channels_first(x: Tensor, channels: int) -> Tensor:
    """A picture [C, H, W], of [H, W] with its grey in each channel; InputError for channels last,
    and for several pictures."""
    shape = tuple(x.shape)
    if x.ndim == COLOUR_AXES - 1:
        return x.expand(channels, -1, -1)
    if x.ndim == COLOUR_AXES and shape[0] not in COLOURS and shape[2] in COLOURS:
        raise InputError(
            f"image: {shape}, channels last; give channels first, x.transpose(2, 0, 1) of an "
            "array, x.permute(2, 0, 1) of a tensor"
        )
    if x.ndim == COLOUR_AXES + 1 and shape[1] in COLOURS:
        raise InputError(f"image: {shape}, {shape[0]} of them; give one at a time, x[0]")
    return x


def _in_channels(x: Tensor, channels: int) -> Tensor:
    """A picture in that many channels: grey repeated, or one of several that are equal; InputError
    where that cannot be."""
    if x.ndim != COLOUR_AXES or len(x) == channels:
        return x
    if len(x) == 1:
        return x.expand(channels, -1, -1)
    if channels == 1 and bool((x == x[:1]).all()):
        return x[:1]
    raise InputError(
        f"image: {tuple(x.shape)}, {len(x)} channels, and the model draws {channels}; give a "
        "picture of as many"
    )


def _of_floats(x: Tensor, picture: bool) -> Tensor:
    """A picture, or else a measurement, of numbers that can be meant."""
    if not bool(x.isfinite().all()):
        raise InputError("image: holds values that are not finite; put 0 where nothing is known")
    low, high = (float(x.min()), float(x.max())) if x.numel() else (0.0, 0.0)
    if picture and 0 <= low < values.DARK and 0 < high <= 1:
        raise InputError(
            f"image: floats {low:g} .. {high:g}, none negative; give 2 * x - 1, which is in "
            "-1 .. 1, or uint8"
        )
    return x.float()


def mask_of(mask: Any) -> Tensor | None:
    """True [H, W] where the picture is to be drawn anew."""
    if mask is None or isinstance(mask, str | Path):
        return masks(None if mask is None else str(mask), {"": None}, None, "squash")[""]
    if isinstance(mask, Image.Image):
        try:
            read = photo_of(mask)
        except (ValueError, OSError) as error:
            raise _unread("mask", error, MASK_WORDS) from error
        return anew_of("mask", read)
    anew = values.tensor("mask", mask, MASK_WORDS).cpu().squeeze()
    if anew.ndim != 2 or not anew.numel():
        raise InputError(f"mask: shape {tuple(anew.shape)}; give {MASK_WORDS}")
    if anew.dtype == torch.bool:
        return anew
    low, high = float(anew.min()), float(anew.max())
    most = next((white for white in (1, WHITE_8, WHITE_16) if high <= white), 0)
    # Nor is nan; half of white at most is black everywhere.
    if not (low >= 0 and high <= most) or 0 < high <= most / 2:
        raise InputError(f"mask: values {low:g} .. {high:g}; give {MASK_WORDS}")
    return anew > most / 2
