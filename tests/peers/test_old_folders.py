"""Folders as they stand in public, of old versions and of two minds, draw as in diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sde_diffusion as sd
from tests.peers.spoiling import edited, part, without

tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
INDEX = "model_index.json"
X = sd.Seeds().start([3], (4, 8, 8))


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    """The folder of a small Stable Diffusion."""
    tiny.sd15().save_pretrained(tmp_path / "folder")
    return tmp_path / "folder"


def apart(folder: Path) -> float:
    """Of our latents from those of the pipeline that diffusers makes of the folder."""
    pipe = tiny.diffusers.DiffusionPipeline.from_pretrained(
        folder, safety_checker=None, low_cpu_mem_usage=False
    )
    pipe.set_progress_bar_config(disable=True)
    words: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 3.0, "height": 16}
    theirs = pipe("a", negative_prompt="b", latents=X, width=16, output_type="latent", **words)
    ours = sd.load(folder).sample(
        1, 10, prompt="a", negative="b", guidance="cfg", guidance__cfg__scale=3.0,
        solver="ddim", x_T=X, size=16,
    )  # fmt: skip
    return float((ours.x - theirs.images).abs().max() / theirs.images.abs().max())


def test_of_two_classes_of_a_scheduler_the_index_has_its_way(folder: Path) -> None:
    edited(INDEX, scheduler=["diffusers", "EulerDiscreteScheduler"])(folder)
    assert apart(folder) < 1e-4
    said = {row["key"]: row["evidence"] for row in sd.inspect(folder)}
    assert said["scheduler"].endswith("scheduler_config.json says DDIMScheduler")


def test_a_scheduler_without_a_class_has_that_of_the_index(folder: Path) -> None:
    place = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(place.read_text())
    del config["_class_name"]
    place.write_text(json.dumps(config))
    assert apart(folder) < 1e-4


def test_features_that_the_network_projects(folder: Path) -> None:
    part(
        "unet", lambda: tiny.unet(24, encoder_hid_dim=16, encoder_hid_dim_type="text_proj")
    )(folder)  # fmt: skip
    assert apart(folder) < 1e-4


def test_a_tokenizer_of_two_files(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]
    without("tokenizer/tokenizer.json")(folder)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in tokenizer["merges"]]
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(tokenizer["vocab"]))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    assert apart(folder) < 1e-4


def test_a_checker_of_a_library_of_its_day(folder: Path) -> None:
    """``stable_diffusion`` was a folder of diffusers; nothing of it is opened."""
    whole = sd.load(folder).sample(seeds=[1], nfe=3, prompt="a", size=16).x
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    edited(INDEX, safety_checker=checker)(folder)
    assert torch.equal(sd.load(folder).sample(seeds=[1], nfe=3, prompt="a", size=16).x, whole)


def test_the_published_dit_is_of_an_old_class(tmp_path: Path) -> None:
    """Its folders say Transformer2DModel, of which diffusers makes a DiT."""
    tiny.dit().save_pretrained(tmp_path)
    asked = {"seeds": [1], "nfe": 4, "label": 3}
    now = sd.load(tmp_path).sample(**asked).x
    edited(INDEX, transformer=["diffusers", "Transformer2DModel"])(tmp_path)
    edited("transformer/config.json", _class_name="Transformer2DModel", cross_attention_dim=None)(
        tmp_path
    )
    assert torch.equal(sd.load(tmp_path).sample(**asked).x, now)


def test_sdxl_refiner_is_refused(tmp_path: Path) -> None:
    """It is told five numbers of a picture, of which one is how good it is."""
    tiny.sdxl().save_pretrained(tmp_path)
    part("unet", lambda: tiny.unet(
        32, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 5 * 8, use_linear_projection=True,
    ))(tmp_path)  # fmt: skip
    with pytest.raises(sd.InputError, match=r"of a refiner, .* give the base model"):
        sd.load(tmp_path)
