"""Sentences, layouts and references: what is read, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.conditions.condition import LAYOUT, REFERENCE, TEXT
from sde_diffusion.conditions.labels import Labels
from sde_diffusion.conditions.layout import Layout
from sde_diffusion.conditions.reference import ReferencePatch
from sde_diffusion.conditions.several import Several
from sde_diffusion.conditions.text import Text, vocabulary, words_of
from sde_diffusion.errors import InputError
from tests.data import profiles

WORDS = ["a", "blue", "circle", "red", "square"]
TABLE = {"red": (224, 32, 32), "blue": (40, 72, 232)}


@pytest.fixture
def text() -> Text:
    return Text(WORDS, 4)


@pytest.fixture
def layout() -> Layout:
    return Layout(["circle", "square"], TABLE, (8, 10))


@pytest.fixture
def several(text: Text, layout: Layout) -> Several:
    return Several(Labels(0), text, [layout, ReferencePatch((16, 16))])


def test_words_are_small_letters_without_punctuation(text: Text) -> None:
    assert words_of("A red circle, an X-ray!") == ["a", "red", "circle", "an", "x-ray"]
    assert text.tokens(["A red Circle."]).tolist() == [[1, 4, 3, 0]]
    assert vocabulary(["b a", "A c d"]) == (["a", "b", "c", "d"], 3)


def test_a_sentence_serves_all_rows_or_one_each(text: Text) -> None:
    one = text.encode({"prompt": "a circle"}, range(3))
    assert one is not None
    assert one.parts[TEXT].value.tolist() == [[1, 3, 0, 0]] * 3
    each = text.encode({"prompt": ["a circle", "red"]}, range(2))
    assert each is not None
    assert each.parts[TEXT].value[1].tolist() == [4, 0, 0, 0]
    assert text.encode({}, range(2)) is None


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "no words; leave it out"),
        ("...", "no words"),
        ("a red circle a blue square", "6 words.*shorten"),
        ("a " * 5000, "5000 words.*shorten"),
        ("a mauve cat", "does not know mauve, cat; its words are: a blue"),
        (["a circle"], "1 sentences for 2 images; give one"),
        (7, "give a sentence"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_one_line(text: Text, prompt: object, says: str) -> None:
    with pytest.raises(InputError, match=f"^prompt.*{says}") as raised:
        text.encode({"prompt": prompt}, range(2))
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_a_map_is_read_as_it_was_drawn(layout: Layout, tmp_path: Path) -> None:
    planes = torch.zeros(2, 8, 10, dtype=torch.uint8)
    planes[:, 1:4, 2:5] = torch.tensor([1, 2], dtype=torch.uint8)[:, None, None]
    planes[:, 5:, 6:] = torch.tensor([2, 1], dtype=torch.uint8)[:, None, None]
    layout.picture(planes).save(tmp_path / "map.png")
    cond = layout.encode({"layout": str(tmp_path / "map.png")}, range(3))
    assert cond is not None
    assert torch.equal(cond.parts[LAYOUT].value, planes.expand(3, -1, -1, -1))


def test_a_map_is_read_as_viewers_show_it(layout: Layout, tmp_path: Path) -> None:
    """Upright, of a palette, and never what a viewer does not show: colours under transparency."""
    planes = torch.zeros(2, 8, 10, dtype=torch.uint8)
    planes[:, 1:4, 2:5] = torch.tensor([1, 2], dtype=torch.uint8)[:, None, None]
    drawn, turn = layout.picture(planes), Image.Exif()
    drawn.quantize(8).save(tmp_path / "palette.png")
    turn[0x0112] = 6  # a quarter turn clockwise is to be made of what is stored
    drawn.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=turn)
    for name in ("palette.png", "turned.png"):
        cond = layout.encode({"layout": str(tmp_path / name)}, range(1))
        assert cond is not None
        assert torch.equal(cond.parts[LAYOUT].value[0], planes)
    drawn.putalpha(Image.new("L", drawn.size, 0))
    drawn.save(tmp_path / "clear.png")
    with pytest.raises(InputError, match=r"layout=.*clear\.png: transparent in part"):
        layout.encode({"layout": str(tmp_path / "clear.png")}, range(1))


def test_maps_that_do_not_fit_are_one_line(layout: Layout, tmp_path: Path) -> None:
    Image.new("RGB", (10, 9)).save(tmp_path / "size.png")
    strange, shapeless = np.zeros((8, 10, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)
    strange[3, 4] = (1, 2, 3)
    shapeless[2, 5] = TABLE["red"]
    Image.fromarray(strange).save(tmp_path / "colour.png")
    Image.fromarray(shapeless).save(tmp_path / "shape.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, says in (
        ("size", r"\(9, 10, 3\).*make it 10 x 8"),
        ("colour", r"pixel \(3, 4\) is \(1, 2, 3\), none of black and red"),
        ("shape", r"pixel \(2, 5\).*1 circle, 2 square"),
        ("text", "no picture that can be read; give"),
        ("gone", "no such file; give"),
    ):
        with pytest.raises(InputError, match=f"layout.*{says}"):
            layout.encode({"layout": str(tmp_path / f"{name}.png")}, range(1))


def test_a_map_of_pillow_or_numpy_is_read_as_a_file_is(layout: Layout, tmp_path: Path) -> None:
    planes = torch.zeros(2, 8, 10, dtype=torch.uint8)
    planes[:, 1:4, 2:5] = 1
    drawn = layout.picture(planes)
    pixels = np.asarray(drawn)
    drawn.save(tmp_path / "p3.png", icc_profile=profiles.of_colours(profiles.P3, 0))
    given = (drawn, drawn.convert("RGBA"), drawn.quantize(8), pixels, tmp_path / "p3.png")
    for each in given:
        cond = layout.encode({"layout": each}, range(1))
        assert cond is not None
        assert torch.equal(cond.parts[LAYOUT].value[0], planes)
    strange = np.full((8, 10, 3), 3, np.uint8)
    for image, says in (
        (Image.new("RGBA", (10, 8), 0), "layout: transparent in part"),
        (Image.new("F", (10, 8)), "layout: mode F, floats of 32 bits; convert it"),
        (pixels / 255, "give whole numbers 0 .. 255, as numpy.uint8"),
        (pixels.transpose(2, 0, 1), r"give channels last, array.transpose\(1, 2, 0\)"),
        (pixels[:4], "make it 10 x 8 pixels of them, without smoothing"),
        (strange, r"^layout: pixel \(0, 0\) is \(3, 3, 3\), .* and save a PNG"),
        (Image.fromarray(strange), r"^layout: pixel \(0, 0\)"),
    ):
        with pytest.raises(InputError, match=says) as raised:
            layout.encode({"layout": image}, range(1))
        assert "\n" not in str(raised.value)


def test_a_negative_stands_on_the_other_side(several: Several, tmp_path: Path) -> None:
    """In the place of the prompt; layouts and references are dropped there."""
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "patch.png")
    wishes = {"prompt": "a red circle", "reference": str(tmp_path / "patch.png")}
    plain = several.encode(wishes, range(2))
    cond = several.encode({**wishes, "negative": "a square"}, range(2))
    assert plain is not None
    assert cond is not None
    assert plain.other is None
    assert cond.empty.parts[TEXT].value[0].tolist() == [1, 5, 0, 0]
    assert cond.empty.parts[TEXT].keep.all()
    assert cond.parts[REFERENCE].keep.all()
    assert not cond.empty.parts[REFERENCE].keep.any()
    alone = several.encode({"negative": "a square"}, range(2))
    assert alone is not None
    assert not alone.parts[TEXT].keep.any()
    with pytest.raises(InputError, match=r"^negative=.*does not know cat"):
        several.encode({"negative": "a cat"}, range(2))
    assert several.encode({}, range(2)) is None


def test_a_checkpoint_says_what_its_conditions_are(several: Several) -> None:
    described = {
        "text": {"shape": [4], "words": WORDS, "length": 4},
        "layout": {"shape": [2, 8, 10], "shapes": ["circle", "square"], "colours": TABLE},
        "reference": {"shape": [3, 16, 16]},
    }
    again = Several.of(Labels(0), described)
    assert again.words == several.words == ("prompt", "layout", "reference", "negative")
    assert Several.of(Labels(3), {}).words == ("label",)
