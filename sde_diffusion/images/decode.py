"""One picture as everybody sees it, from the content of a file."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from sde_diffusion.errors import InputError
from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.spelling import none_of

# Told by content. No other decoder of Pillow ever runs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
# Registered as they are imported, as the others are by themselves.
PLUGINS = (TiffImagePlugin, WebPImagePlugin)
MAX_PIXELS = 64 * 2**20
MAX_SIZE = 4096
FITS = ("squash", "crop", "pad")
WHITE = (255, 255, 255, 255)
# Pillow's modes of more than 8 bits, which it would clip at 255: all white. Of 16 bits, 65535 is
# white; of 32 bits and of floats no file says what is.
SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
DEEP = {"I": "integers of 32 bits", "F": "floats of 32 bits"}
GREY = ("1", "L", "LA", "La", *SIXTEEN)
PHOTOMETRIC = 262  # the tag of a TIFF that is 0 where the least number is white
SEVERAL, TURNED, CLEAR, SCALED, HALVED, SQUASHED = (
    "of several frames, of which the first was taken",
    "turned as their EXIF says",
    "transparent, put on white",
    "of 16 bits, divided by 257 to be of 8",
    "in colours of 16 bits, of which the upper 8 were taken",
    "not square, squashed to be so (data.fit=crop or pad keeps proportions)",
)


@dataclass(frozen=True)
class Picture:
    """Pixels uint8 [H, W, C], whether they were stored as grey, what was done to them, how many
    there were before they were resized, and their height and width then."""

    array: np.ndarray
    grey: bool
    notes: tuple[str, ...]
    decoded: int
    stored: tuple[int, int]


def decode(
    content: bytes, size: int | None, mode: str, fit: str = "squash", most: int = MAX_PIXELS
) -> Picture:
    """The picture in a file's content, as ``picture`` makes it of an open one.

    ValueError, in words, for what is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow finds odd about metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:  # named by an address in memory
            raise ValueError("not an image") from None
        with image:
            return picture(image, size, mode, fit, most)


def picture(
    image: Image.Image, size: int | None, mode: str, fit: str = "squash", most: int = MAX_PIXELS
) -> Picture:
    """An open image as viewers show it: its first frame, upright, on white where it is transparent.

    Args:
        image: of at most ``most`` pixels of 8 bits a channel, or of 16 bits of grey.
        size: resize to size x size with Pillow's antialiased Lanczos filter, or None.
        mode: RGB or L. fit: what becomes of proportions, one of ``FITS``.
    """
    if image.width * image.height > most:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {most}")
    if image.mode in DEEP:
        raise ValueError(f"mode {image.mode}, {DEEP[image.mode]}; convert it to 8 bits")
    notes, grey, decoded = [], image.mode in GREY, image.width * image.height
    if colours_of_16_bits(image):
        notes.append(HALVED)
    image.load()
    upright = turned(image)
    if upright is not image:
        notes.append(TURNED)
    if upright.mode in SIXTEEN:
        notes.append(SCALED)
        upright = _of_8_bits(upright, image)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        if np.asarray(layer)[..., 3].min() < 255:
            notes.append(CLEAR)
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, WHITE), layer)
    shown = upright.convert("RGB").convert(mode)
    stored = shown.height, shown.width
    if size is not None:
        if shown.width != shown.height and fit == "squash":
            notes.append(SQUASHED)
        shown = _fitted(shown, size, fit)
    array = np.asarray(shown)
    if several(image):
        notes.append(SEVERAL)
    array = array if array.ndim == 3 else array[..., None]
    return Picture(array, grey, tuple(notes), decoded, stored)


def _of_8_bits(upright: Image.Image, image: Image.Image) -> Image.Image:
    """Grey of 16 bits, v, as of 8: round(v / 257), so that 0 and 65535 are black and white.

    Args:
        image: as it was opened, which says what its numbers mean.
    """
    stored = np.asarray(upright).astype(np.uint16)
    shown = ((sixteen_bits(upright, image).astype(np.uint32) + 128) // 257).astype(np.uint8)
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return Image.fromarray(shown)
    opaque = np.where(stored == clear, 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(shown), Image.fromarray(opaque)))


def sixteen_bits(upright: Image.Image, image: Image.Image) -> np.ndarray:
    """Grey of 16 bits uint16 [H, W], 65535 is white; arguments as above."""
    stored = np.asarray(upright).astype(np.uint16)
    # Pillow leaves these as they are.
    return 65535 - stored if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0 else stored


def colours_of_16_bits(image: Image.Image) -> bool:
    """Whether Pillow would drop the lower half of its numbers."""
    if image.mode in SIXTEEN:
        return False
    for tile in getattr(image, "tile", ()):
        words = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if any(isinstance(word, str) and ";16" in word for word in words):
            return True
        deep_ppm = any(isinstance(word, int) and word > 255 for word in words)
        if image.format == "PPM" and image.mode == "RGB" and deep_ppm:
            return True
    return False


def turned(image: Image.Image) -> Image.Image:
    """The image upright; itself where it is, or where its metadata cannot be read."""
    try:
        if image.getexif().get(0x0112, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except Exception as error:  # damaged metadata raise anything, and viewers pass over them
        passed_on(error)
        return image


def several(image: Image.Image) -> bool:
    """Whether a further frame follows."""
    try:
        image.seek(1)
    except Exception as error:  # none, or one that cannot be read
        passed_on(error)
        return False
    return True


def _fitted(image: Image.Image, size: int, fit: str) -> Image.Image:
    filtered = Image.Resampling.LANCZOS
    if fit == "crop":
        return ImageOps.fit(image, (size, size), filtered)
    if fit == "pad":
        return ImageOps.pad(image, (size, size), filtered)
    return image.resize((size, size), filtered)


def resized(images: np.ndarray, size: int, fit: str = "squash") -> np.ndarray:
    """uint8 [N, C, H, W] -> [N, C, size, size], as ``picture`` resizes those of files."""
    small = np.empty((*images.shape[:2], size, size), np.uint8)
    for image, to in zip(images, small, strict=True):
        for channel, row in zip(image, to, strict=True):
            row[:] = np.asarray(_fitted(Image.fromarray(channel), size, fit))
    return small


def size_choice(size: int | None) -> None:
    """InputError unless it is a side that images may be resized to, or None."""
    if size is not None and (type(size) is not int or not 1 <= size <= MAX_SIZE):
        raise InputError(f"data.size={size}: give 1 to {MAX_SIZE}, or null")


def fit_choice(fit: str, size: int | None) -> None:
    """InputError unless it is one of ``FITS``, and there is a size to fit to."""
    if fit not in FITS:
        raise none_of("data.fit", fit, FITS)
    if fit != "squash" and size is None:
        raise InputError(f"data.fit={fit}: fits images to data.size; give data.size=32, say")
