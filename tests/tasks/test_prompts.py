"""A model of captions from its first step to pictures of sentences, layouts and references."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sde_diffusion as sd
from sde_diffusion.conditions.condition import TEXT
from sde_diffusion.conditions.text import words_of
from sde_diffusion.config.compose import compose_task
from sde_diffusion.data import Shapes
from sde_diffusion.data.prompts import prompt_lines
from sde_diffusion.errors import InputError
from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.models.sources import open_model
from sde_diffusion.tasks import sample, train

SMALL = [
    "data.n=40", "data.held_out=8", "network.widths=[16]", "network.attention=[0]",
    "network.patch=4", "network.embedding=16",
    "network.text_width=16", "network.text_depth=1", "network.head_width=8", "save_every=3",
    "batch_size=8", "warmup=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    for steps in (3, 4):  # and resumed
        words = ["task=train", "experiment=shapes", *SMALL, f"steps={steps}"]
        train.run(compose_task(words), folder)
    return folder / "model.safetensors"


def drawn(checkpoint: Path, folder: Path, *words: str) -> np.ndarray:
    config = compose_task(
        ["task=sample", f"checkpoint={checkpoint}", "solver=ddim", "nfe=4", *words]
    )
    sample.run(config, folder)
    with np.load(folder / "samples.npz") as file:
        images: np.ndarray = file["images"]
    return images


def test_a_model_of_captions_is_trained_and_asked(checkpoint: Path, tmp_path: Path) -> None:
    """Each condition moves the pictures; the same words and seeds give the same ones."""
    spec, _ = read_checkpoint(checkpoint)
    assert list(spec.conditions) == ["text", "layout", "reference"]
    model = open_model(checkpoint)
    patch = Image.fromarray(np.full((16, 16, 3), 200, np.uint8))
    patch.save(tmp_path / "patch.png")
    planes = Shapes(1).load().given["layout"][0]
    model.conditioner.each[2].picture(planes).save(tmp_path / "map.png")  # type: ignore[attr-defined]
    red = 'prompt="a large red circle, and a blue square"'
    first = drawn(checkpoint, tmp_path / "a", "n=2", red)
    assert first.shape == (2, 32, 32, 3)
    assert np.array_equal(first, drawn(checkpoint, tmp_path / "b", "n=2", red))
    (tmp_path / "lines.txt").write_text("a red circle\na blue square\n\n")
    assert len(drawn(checkpoint, tmp_path / "c", f"prompts={tmp_path / 'lines.txt'}")) == 2
    for words in ([f"layout={tmp_path / 'map.png'}"], [f"reference={tmp_path / 'patch.png'}"]):
        assert drawn(checkpoint, tmp_path / words[0][:6], "n=2", red, *words).shape == first.shape


def test_words_reach_the_denoiser(checkpoint: Path) -> None:
    """Of weights that are not at their start; NFE under guidance is a pair."""
    model = open_model(checkpoint)
    for p in model.denoiser.parameters():
        p.data += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    x, sigma = torch.randn(2, 3, 32, 32), torch.tensor(1.0)
    answers = [
        model.denoiser(x, sigma, model.condition({"prompt": text}, range(2)))
        for text in ("a red circle", "a blue square")
    ]
    assert float((answers[0] - answers[1]).abs().max()) > 1e-4
    cond = model.condition({"prompt": "a red circle"}, range(2))
    assert cond is not None
    assert any(k.startswith("encoded.") for k in model.denoiser.encode(cond).parts[TEXT].aside)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (['prompt="a mauve circle"'], "does not know mauve"),
        (["prompts=gone.txt"], "prompts=gone.txt.*give"),
        (["layout=gone.png"], "layout=gone.png: no such file"),
        (["label=3"], "label"),
        (["negative=a circle"], "negative=a circle: nothing leads away.*guidance="),
        # Two calls, but of two models under the same condition.
        (
            ["negative=a circle", "guidance=[auto]", "guidance.auto.model=mnist"],
            "negative=a circle: nothing leads away.*guidance=",
        ),
    ],
)
def test_wrong_wishes_are_one_line(
    checkpoint: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        drawn(checkpoint, tmp_path / "x", "n=1", *words)


def test_a_model_without_words_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"prompt=.*model mnist takes no prompt"):
        sample.run(compose_task(["task=sample", "n=1", 'prompt="a red circle"']), tmp_path)


def test_a_mark_of_byte_order_is_no_word_of_a_prompt(tmp_path: Path) -> None:
    """As editors on Windows write it, before the first sentence."""
    (tmp_path / "lines.txt").write_text("a red circle\na blue square\n", "utf-8-sig")
    assert prompt_lines(tmp_path / "lines.txt") == ["a red circle", "a blue square"]


def test_a_line_ends_where_files_end_it(tmp_path: Path) -> None:
    """A separator of Unicode within a sentence made two of it, and moved those of later images."""
    lines = tmp_path / "lines.txt"
    lines.write_bytes("a red\u2028circle\r\na blue\x0bsquare\n".encode())
    assert prompt_lines(lines) == ["a red\u2028circle", "a blue\x0bsquare"]
    lines.write_text("a red circle\n", "utf-16")
    with pytest.raises(InputError, match="no text in UTF-8; write it so"):
        prompt_lines(lines)


@pytest.mark.parametrize("text", ["un café noir", "हिन्दी में", "naïve 3-way l'été"])
def test_a_letter_and_its_marks_are_one_however_they_are_written(text: str) -> None:
    """Words of decomposed letters, and of scripts whose vowels are marks, fell apart."""
    told = [words_of(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")]
    assert told[0] == told[1] == unicodedata.normalize("NFC", text).split()


def test_a_layout_is_taken_from_pillow_and_no_list(checkpoint: Path) -> None:
    model = sd.load(checkpoint)
    shown = Image.new("RGB", (32, 32))
    drawn = [
        model.sample(1, 2, solver="ddim", layout=each).x for each in (shown, np.asarray(shown))
    ]
    assert torch.equal(*drawn)
    with pytest.raises(InputError, match="layout: a list; give one picture, or its path"):
        model.sample(1, 2, layout=[shown])
