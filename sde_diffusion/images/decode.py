"""One picture as everybody sees it, from the content of a file."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from sde_diffusion.errors import InputError
from sde_diffusion.images.depth import (
    SIXTEEN,
    check_numbers,
    colours_of_16_bits,
    is_grey_and_alpha_of_16,
    is_sixteen,
    notes_of,
    set_clear_level,
    sixteen_bits,
)
from sde_diffusion.images.profile import KEPT, changes, in_srgb
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
GREY = ("1", "L", "LA", "La", *SIXTEEN)
# Of content that Pillow does not open: where a mark stands, the mark, and what it is of.
MARKS = (
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
)
FOREIGN = (
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"%PDF", "PDF"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"8BPS", "Photoshop's own format"),
)
# What stands in the place of a picture that never came.
POINTER = b"version https://git-lfs"
LOST = (
    (POINTER, "a pointer of Git LFS in the place of a picture; fetch it with 'git lfs pull'"),
    (b"<!DOCTYPE", "a page of the web in the place of a picture; fetch it again"),
    (b"<!doctype", "a page of the web in the place of a picture; fetch it again"),
    (b"<html", "a page of the web in the place of a picture; fetch it again"),
)
SEVERAL, TURNED, CLEAR, SCALED, HALVED, SQUASHED = (
    "of several frames, of which the first was taken",
    "turned as their EXIF says",
    "transparent, put on white",
    "of 16 bits, divided by 257 to be of 8",
    "of 16 bits a channel, of which the upper 8 were taken",
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
    content: bytes,
    size: int | None,
    mode: str,
    fit: str = "squash",
    most: int = MAX_PIXELS,
    colours: bool = True,
) -> Picture:
    """The picture in a file's content, as ``picture`` makes it of an open one.

    ValueError, in words, for what is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow finds odd about metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with opened(content) as image:
            return picture(image, size, mode, fit, most, colours)


def opened(content: bytes, otherwise: str = "not an image") -> Image.Image:
    """The image in a file's content, not yet decoded; ValueError, in words, for what is none."""
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(
            f"more pixels than {MAX_PIXELS}, a bomb if it is none of yours; give a smaller one"
        ) from error
    except UnidentifiedImageError:  # named by an address in memory
        if not content:
            raise ValueError("an empty file; fetch it again") from None
        for mark, what in LOST:
            if content.lstrip().startswith(mark):
                raise ValueError(what) from None
        for at, mark, kind in FOREIGN:
            if content[at:].startswith(mark):
                raise ValueError(f"{kind}, which is not read; save it as PNG") from None
        for at, mark, kind in MARKS:
            if content[at:].startswith(mark):
                raise ValueError(
                    f"{kind} that is torn, or of numbers or channels that are not read; save it "
                    "with 8 bits a channel, as grey or in three colours"
                ) from None
        raise ValueError(otherwise) from None


def picture(
    image: Image.Image,
    size: int | None,
    mode: str,
    fit: str = "squash",
    most: int = MAX_PIXELS,
    colours: bool = True,
) -> Picture:
    """An open image as viewers show it: its first frame, upright, in the colours of its profile, on
    white where it is transparent.

    Args:
        image: of at most ``most`` pixels of 8 bits a channel, or of 16 bits of grey.
        size: resize to size x size with Pillow's antialiased Lanczos filter, or None.
        mode: RGB or L. fit: what becomes of proportions, one of ``FITS``.
        colours: whether its numbers are colours, which a profile may change, or mere numbers.
    """
    if image.width * image.height > most:
        raise ValueError(
            f"{image.width} x {image.height} pixels, more than {most}; give a smaller one"
        )
    check_numbers(image)
    notes, decoded = notes_of(image), image.width * image.height
    grey = image.mode in GREY or is_sixteen(image) or is_grey_and_alpha_of_16(image)
    if colours_of_16_bits(image):
        notes.append(HALVED)
    set_clear_level(image)
    image.load()
    upright = turned(image)
    if upright is not image:
        notes.append(TURNED)
    if is_sixteen(image):
        notes.append(SCALED)
        upright = _of_8_bits(upright, image)
    shown, remarks = _on_white(upright, image.info.get("icc_profile") or b"", grey, colours)
    notes, shown = [*notes, *remarks], shown.convert(mode)
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


def _on_white(
    upright: Image.Image, profile: bytes, grey: bool, colours: bool
) -> tuple[Image.Image, list[str]]:
    """An image of 8 bits a channel as RGB, in the colours of its profile, and what was done."""
    notes: list[str] = []
    clear = upright.has_transparency_data
    if clear:
        upright = (upright.convert("LA") if upright.mode == "La" else upright).convert("RGBA")
    if colours:
        upright, notes = in_srgb(upright, profile, grey)
    elif changes(profile):
        notes = [KEPT]
    if not clear:
        return upright.convert("RGB"), notes
    layer = upright.convert("RGBA")
    if np.asarray(layer)[..., 3].min() < 255:
        notes = [*notes, CLEAR]
    return Image.alpha_composite(Image.new("RGBA", layer.size, WHITE), layer).convert("RGB"), notes


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
        if 2 * size * min(image.size) <= max(image.size):  # Pillow would round it to no pixel
            flat = image.width > image.height
            image = image.resize((size, 1) if flat else (1, size), filtered)
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
