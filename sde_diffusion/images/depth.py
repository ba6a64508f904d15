"""What the numbers in a picture's file mean, where Pillow does not say: depth, sign, channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

# Pillow's modes of more than 8 bits, which it would clip at 255: all white. Of 16 bits, 65535 is
# white; of 32 bits and of floats no file says what is.
SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
DEEP = {"I": "integers of 32 bits", "F": "floats of 32 bits"}
# Tags of TIFF: whether 0 is white, how many channels there are, and how many bits each has.
PHOTOMETRIC, CHANNELS, BITS = 262, 277, 258
SAMPLES, SIGNED = 339, 2  # what kind of number a channel is, and one of them
CUT_ALPHA = "LA;16B"  # Pillow's word for grey and alpha of 16 bits, which it reads as colours
# What Pillow multiplies grey levels of fewer bits by, but not the one of them that is clear.
FEW_BITS = {"L;2": 85, "L;4": 17}
# 1 / 2.2, in which sRGB's curve is written where no profile is.
GAMMA, ABOUT = 0.45455, 0.01
OTHER_GAMMA = "with a gamma that is not sRGB's, whose numbers were taken as they are"
DARK = 64  # of 255
LEFT_OUT = "of more channels than a picture has, the last of them left out"


def check_numbers(image: Image.Image) -> None:
    """ValueError, in words, for a picture of numbers of which no file says what is white."""
    bits = max((each for each in _tag(image, BITS) if isinstance(each, int)), default=0)
    if SIGNED in _tag(image, SAMPLES) and bits < 32:
        raise ValueError(f"signed integers of {bits} bits; convert it to 8 bits, 0 .. 255")
    if image.mode in DEEP and not is_sixteen(image):
        raise ValueError(f"mode {image.mode}, {DEEP[image.mode]}; convert it to 8 bits")


def is_sixteen(image: Image.Image) -> bool:
    """Whether it is grey of 16 bits: of PPM, Pillow brings 9 to 16 bits to these, under another
    name."""
    return image.mode in SIXTEEN or (image.mode, image.format) == ("I", "PPM")


def notes_of(image: Image.Image) -> list[str]:
    """What of the file does not show in the picture."""
    notes = []
    if max((n for n in _tag(image, CHANNELS) if isinstance(n, int)), default=0) > len(
        image.getbands()
    ):
        notes.append(LEFT_OUT)
    gamma, profiles = image.info.get("gamma"), {"srgb", "icc_profile"} & set(image.info)
    if isinstance(gamma, float) and abs(gamma - GAMMA) > ABOUT and not profiles:
        notes.append(OTHER_GAMMA)
    return notes


def is_grey_and_alpha_of_16(image: Image.Image) -> bool:
    """Whether it was stored as grey, which Pillow makes colours of."""
    return CUT_ALPHA in _words(image)


def set_clear_level(image: Image.Image) -> None:
    """Bring the level that is transparent to 8 bits, as Pillow brings the others."""
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and colours_of_16_bits(image):
        image.info["transparency"] = tuple(level >> 8 for level in clear)
    if image.mode == "L" and isinstance(clear, int):
        for word in _words(image):
            image.info["transparency"] = clear * FEW_BITS.get(str(word), 1)


def sixteen_bits(upright: Image.Image, image: Image.Image) -> np.ndarray:
    """Grey of 16 bits uint16 [H, W], 65535 is white.

    Args:
        image: as it was opened, which says what its numbers mean.
    """
    stored = np.asarray(upright).astype(np.uint16)
    # Pillow leaves these as they are.
    return 65535 - stored if _tag(image, PHOTOMETRIC) == (0,) else stored


def colours_of_16_bits(image: Image.Image) -> bool:
    """Whether Pillow would drop the lower half of its numbers."""
    if is_sixteen(image) or image.mode in DEEP:
        return False
    for word in _words(image):
        if isinstance(word, str) and ";16" in word:
            return True
        if image.format == "PPM" and image.mode == "RGB" and isinstance(word, int) and word > 255:
            return True
    return False


def _words(image: Image.Image) -> Iterator[object]:
    """What Pillow says of how the numbers lie in the file."""
    for tile in getattr(image, "tile", ()):
        yield from tile.args if isinstance(tile.args, tuple) else (tile.args,)


def _tag(image: Image.Image, number: int) -> tuple[object, ...]:
    """The values of a tag of TIFF, none where there is none."""
    value = getattr(image, "tag_v2", {}).get(number, ())
    return value if isinstance(value, tuple) else (value,)


def dark(most: int, white: int = 255) -> list[str]:
    """A note on pictures whose brightest level is so low that they are nearly black: of 12 bits in
    16, or the numbers of a mask."""
    if most * 255 >= DARK * white:
        return []
    return [f"no level above {most} of {white}: nearly black as they stand"]
