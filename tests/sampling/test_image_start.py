"""Pictures to begin at: how much noise a strength is, who begins where, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sde_diffusion import FromImage, load, wrap
from sde_diffusion.sampling.start import level_of
from tests.conftest import Run
from tests.refusals import refused

GREY = torch.randint(
    0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def spread(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, I)."""
    return x / (1 + sigma**2)


MODEL = wrap(spread, (1, 8, 8))


def test_a_strength_is_the_noise_of_ddpm_after_as_many_steps() -> None:
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    for steps in (100, 300, 600, 900):
        signal = (1 - beta[:steps]).prod().sqrt()
        published = ((1 - signal**2).sqrt() / signal).item()
        assert level_of(steps / 1000, math.inf) == pytest.approx(published, rel=0.03)
    assert level_of(1.0, 80.0) == 80
    assert level_of(0.99, 80.0) == 80


def test_each_image_begins_at_its_picture() -> None:
    drawn = MODEL.sample(start=GREY, n=2, strength=0.05, nfe=10)
    assert (drawn.images.int() - GREY.int()).abs().max() < 80
    one = MODEL.sample(start=GREY[0], n=3, strength=0.05, nfe=10)
    assert torch.equal(one.x[0], drawn.x[0])
    level = level_of(0.05, 80.0)
    by_object = MODEL.sample(start=FromImage(GREY[:1] / 127.5 - 1, level), n=1, nfe=10)
    assert torch.allclose(by_object.x, one.x[:1], atol=1e-6)
    assert torch.equal(MODEL.sample(start=GREY[0], strength=1.0, n=1).x, MODEL.sample(n=1).x)


def test_the_command_begins_at_files_and_draws_other_sizes(
    quick_cli: Run, tmp_path: Path, tiny_model: str
) -> None:
    (tmp_path / "two").mkdir()
    for k in (0, 1):
        Image.fromarray(GREY[k, 0].numpy()).save(tmp_path / "two" / f"{k}.png")
    command = ("sample", f"checkpoint={tiny_model}", "nfe=4", "label=null")
    quick_cli(*command, "start=two", "strength=0.2", "hydra.run.dir=a")
    with np.load(tmp_path / "a" / "samples.npz") as file:
        typed = torch.from_numpy(file["images"]).permute(0, 3, 1, 2)
    called = load(tiny_model).sample(start=tmp_path / "two", strength=0.2, n=2, nfe=4)
    assert torch.equal(typed, called.images)
    quick_cli(*command, "n=2", "size=[12,20]", "seamless=true", "hydra.run.dir=b")
    with np.load(tmp_path / "b" / "samples.npz") as file:
        assert file["images"].shape == (2, 12, 20, 1)
        sized = load(tiny_model).sized((12, 20), seamless=True).sample(n=2, nfe=4).images
        assert (sized.permute(0, 2, 3, 1).numpy() == file["images"]).all()
    assert json.loads((tmp_path / "b" / "result.json").read_text())["config"]["seamless"] is True


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("start=nosuch.png", "start=nosuch.png: no such file"),
        ("start=a.png strength=2", "strength=2"),
        ("strength=0.5", "strength=0.5: of the noise on a picture, and none is given"),
        ("start=a.png size=[4,4]", "size=[4, 4]: the pictures of start have [8, 8]"),
        ("start=two n=5", "start: 2 pictures for 5 images; give one, or n=2"),
        ("size=[8]", "size=[8]: give [HEIGHT,WIDTH]"),
        ("checkpoint=mnist seamless=true", "seamless: only a network of convolutions"),
        ("checkpoint=mnist size=[20,28]", "size: 1 x 20 x 28, smaller than"),
    ],
)
def test_what_cannot_be_begun_is_one_line(
    quick_cli: Run, tmp_path: Path, tiny_model: str, words: str, line: str
) -> None:
    (tmp_path / "two").mkdir()
    for path in ("two/0.png", "two/1.png", "a.png"):
        Image.fromarray(GREY[0, 0].numpy()).save(tmp_path / path)
    done = quick_cli("sample", f"checkpoint={tiny_model}", "nfe=4", *words.split(), ok=False)
    assert done.stderr.strip().splitlines()[-1].startswith(f"sde-diffusion: {line}"), done.stderr


def test_what_is_no_start_is_refused() -> None:
    with refused("x_T", "leave one"):
        MODEL.sample(start=GREY[0], x_T=torch.zeros(1, 1, 8, 8), n=1)
    with refused("start", "give one"):
        MODEL.sample(start=GREY, n=3)
    with refused("strength=0.5", "give start=PICTURE"):
        MODEL.sample(n=1, strength=0.5)
    with refused("strength=0.5", "give start=PICTURE"):
        MODEL.sample(n=1, strength=0.5, start=FromImage(GREY, 2.0))
    with refused("strength=0", "0 < strength"):
        MODEL.sample(start=GREY[0], strength=0.0)
    with refused("start", "(1, 8, 8)"):
        MODEL.sample(start=GREY[:1, :, :4], n=1)
