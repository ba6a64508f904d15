"""Colours are those that a file's profile says, by its definition; those of sRGB stay."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from sde_diffusion.images.decode import decode
from sde_diffusion.images.photo import photo
from sde_diffusion.images.profile import BROUGHT, KEPT, TORN
from tests.data import profiles

# All that a filter makes of four colours: saturated ones and their mixtures.
CORNERS = np.array([[[255, 0, 0], [0, 255, 40]], [[20, 0, 255], [250, 250, 250]]], np.uint8)
COLOURS = np.array(Image.fromarray(CORNERS).resize((32, 32)))
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def saved(image: Image.Image, profile: bytes, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    image.save(buffer, kind, icc_profile=profile, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("matrix", "gamma"), [(profiles.P3, 0.0), (profiles.ADOBE, 563 / 256), (profiles.SRGB, 1.0)]
)
def test_colours_are_those_of_the_profile(kind: str, matrix: np.ndarray, gamma: float) -> None:
    """Display P3, Adobe RGB, and the light of sRGB: the twin took their numbers for sRGB's."""
    content = saved(Image.fromarray(COLOURS), profiles.of_colours(matrix, gamma), kind)
    read, wanted = decode(content, None, "RGB"), profiles.in_srgb(COLOURS, matrix, gamma)
    assert np.abs(read.array - wanted).max() <= 1
    assert np.abs(read.array.astype(int) - COLOURS).max() > 30
    assert read.notes == (BROUGHT,)
    edited = photo(content)
    assert (edited.levels.permute(1, 2, 0).numpy() == read.array).all()
    assert edited.notes == (BROUGHT,)


def test_srgb_stays_bit_for_bit_under_any_name() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (own, profiles.of_colours(profiles.SRGB, 0, "c2")):
        read = decode(saved(Image.fromarray(COLOURS), profile), None, "RGB")
        assert (read.array == COLOURS).all()
        assert read.notes == ()
        assert photo(saved(Image.fromarray(COLOURS).convert("L"), profile)).notes == ()
    linear = profiles.of_colours(profiles.SRGB, 1.0, "sRGB, linear")
    assert decode(saved(Image.fromarray(COLOURS), linear), None, "RGB").notes == (BROUGHT,)


def test_what_is_clear_or_of_a_palette_has_the_same_colours() -> None:
    profile, shown = profiles.of_colours(profiles.P3, 0), Image.fromarray(COLOURS).quantize(16)
    palette = decode(saved(shown, profile), None, "RGB").array
    assert (palette == decode(saved(shown.convert("RGB"), profile), None, "RGB").array).all()
    layer = np.dstack([COLOURS, np.full((32, 32), 255, np.uint8)])
    layer[:, :9, 3] = 0
    read = decode(saved(Image.fromarray(layer), profile), None, "RGB").array
    assert (read[:, :9] == 255).all()
    plain = decode(saved(Image.fromarray(COLOURS), profile), None, "RGB").array
    assert (read[:, 9:] == plain[:, 9:]).all()


def test_greys_are_brought_too_and_black_and_white_stay() -> None:
    profile = profiles.of_greys(1.8)
    wanted = profiles.in_srgb(np.repeat(GREY[..., None], 3, -1), profiles.SRGB, 1.8)[..., 0]
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    for image in (Image.fromarray(GREY), deep):
        read = decode(saved(image, profile), None, "L")
        assert np.abs(read.array[..., 0] - wanted).max() < 2
        assert BROUGHT in read.notes
    assert photo(saved(deep, profile)).notes == (KEPT,)
    mask = photo(saved(Image.fromarray(GREY > 99), profile))
    assert mask.notes == ()
    assert mask.levels.unique().tolist() == [0, 255]


def test_ink_has_the_colours_of_its_profile() -> None:
    """Of black alone, light falls as L* does, which is no CMYK of arithmetic."""
    none = Image.fromarray(0 * GREY)
    ink = Image.merge("CMYK", (none, none, none, Image.fromarray(GREY)))
    read = decode(saved(ink, profiles.of_ink(), "TIFF"), None, "RGB")
    lightness = 1 - GREY / 255
    y = np.where(lightness > 0.08, ((lightness + 0.16) / 1.16) ** 3, lightness / 9.033)
    wanted = profiles.in_srgb(np.repeat(255 * y[..., None], 3, -1), profiles.SRGB, 1.0)
    assert np.abs(read.array - wanted).max() < 3
    assert read.notes == (BROUGHT,)


@pytest.mark.parametrize(
    ("image", "profile", "note"),
    [
        (COLOURS, profiles.of_greys(2.2), KEPT),
        (COLOURS, profiles.of_ink(), KEPT),
        (GREY, profiles.of_colours(profiles.ADOBE, 2.2), KEPT),
        (COLOURS, b"none", TORN),
        (COLOURS, profiles.of_colours(profiles.P3, 0)[:300], TORN),
    ],
)
def test_a_profile_of_something_else_changes_nothing_and_is_said(
    image: np.ndarray, profile: bytes, note: str
) -> None:
    read = decode(saved(Image.fromarray(image), profile), None, "RGB")
    assert (read.array == np.array(Image.fromarray(image).convert("RGB"))).all()
    assert read.notes == (note,)
