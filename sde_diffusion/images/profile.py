"""What a file's profile (ICC) makes of its numbers, as colours of sRGB, which are meant here."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# Where the space of a profile's numbers stands in it, and the modes of pictures that it may be of.
SPACE = slice(16, 20)
COLOURS, GREY, INK = b"RGB ", b"GRAY", b"CMYK"
INNER = {COLOURS: "RGB", GREY: "L", INK: "CMYK"}
# A profile whose colours are sRGB's within as many levels is sRGB: its numbers stay, bit for bit.
NEAR = 2
LARGEST = 16 * 2**20
LAB = "LAB"  # a mode whose numbers mean one thing, which Pillow knows
# ImportError where Pillow was built without what reads profiles.
UNREAD = (ImageCms.PyCMSError, OSError, ValueError, ImportError)
BROUGHT = "with a colour profile that is not sRGB's, brought to sRGB"
KEPT = (
    "with a colour profile that is not sRGB's, whose numbers were taken as they are (bring it to "
    "sRGB to have its colours)"
)
TORN = "with a colour profile that cannot be read, whose numbers were taken as those of sRGB"


def in_srgb(image: Image.Image, profile: bytes, grey: bool) -> tuple[Image.Image, list[str]]:
    """The image with the colours that its profile gives it, in sRGB, and a note if that changed it.

    As relative colours, black as black. Of a profile that is sRGB's, the very image.

    Args:
        image: of 8 bits a channel, with or without alpha.
        profile: ICC, of at most ``LARGEST`` bytes; empty for none.
        grey: whether it was stored as grey.
    """
    if not profile or image.mode == LAB:
        return image, []
    space = profile[SPACE]
    try:
        transform = transform_of(profile)
    except UNREAD:
        return image, [TORN]
    if transform is None:
        return image, []
    if not _is_of(space, image.mode, grey):
        return image, [KEPT]
    before = image.convert(INNER[space])
    shown = transform.apply(before)
    if space == GREY:
        shown = shown.getchannel(1)
    if shown.mode == before.mode and shown.tobytes() == before.tobytes():  # black and white, say
        return image, []
    if "A" in image.getbands():
        shown.putalpha(image.getchannel("A"))
    return shown, [BROUGHT]


def changes(profile: bytes) -> bool:
    """Whether a profile gives numbers other colours than sRGB does, or cannot be read."""
    try:
        return bool(profile) and transform_of(profile) is not None
    except UNREAD:
        return True


@lru_cache(maxsize=8)
def transform_of(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """What brings a profile's numbers to sRGB; None where they are sRGB's.

    One of ``UNREAD`` for what is no profile of colours, greys or ink.
    """
    inner = INNER.get(profile[SPACE])
    if inner is None or len(profile) > LARGEST:
        raise ValueError("no profile of a picture's numbers")
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        inner,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if inner == "CMYK":
        return transform
    probe = _probe().convert(inner)
    before = np.asarray(probe.convert("RGB")).astype(int)
    after = np.asarray(transform.apply(probe)).astype(int)
    return None if np.abs(after - before).max() <= NEAR else transform


def _is_of(space: bytes, mode: str, grey: bool) -> bool:
    """Whether numbers of a space are those of an image."""
    if space == INK:
        return mode == "CMYK"
    return mode != "CMYK" and grey == (space == GREY)


def _probe() -> Image.Image:
    """All greys, and colours from all over the cube."""
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    return Image.fromarray(np.concatenate([greys, cube])[None])
