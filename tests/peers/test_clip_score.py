"""CLIP scores are those of transformers' own model; whatever is no CLIP is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import sde_diffusion as sd
from sde_diffusion.errors import InputError

tiny = pytest.importorskip("tests.tiny_pipelines")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
TEXTS = ["a red ring", "two", "a blue square, left of a ring"]


def clip_folder(path: Path) -> Any:
    """A CLIPModel of random weights, its tokenizer and its processor, as transformers save them."""
    tokenizer = tiny.clip_tokenizer()
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": tiny.CLIP_LENGTH, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
    }  # fmt: skip
    torch.manual_seed(3)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    model = transformers.CLIPModel(config).eval()
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    for part in (model, tokenizer, processor):
        part.save_pretrained(path)
    return model, tokenizer, processor


def pictures(channels: int) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, channels, 20, 24), generator=drawn, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_score_is_the_cosine_of_transformers_own_features(channels: int, tmp_path: Path) -> None:
    model, tokenizer, processor = clip_folder(tmp_path)
    found = sd.ClipScore(tmp_path)(pictures(channels), TEXTS)
    for image, text, score in zip(pictures(channels), TEXTS, found, strict=True):
        shown = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
        pixels = processor(Image.fromarray(shown), return_tensors="pt")["pixel_values"]
        ids = tokenizer(text, truncation=True, max_length=tiny.CLIP_LENGTH, return_tensors="pt")
        with torch.no_grad():
            seen = model.get_image_features(pixel_values=pixels).pooler_output
            read = model.get_text_features(**ids).pooler_output
        cosine = torch.nn.functional.cosine_similarity(seen, read)
        assert float(score) == pytest.approx(max(100 * float(cosine), 0.0), abs=1e-4)


def test_a_sentence_that_is_cut_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip_folder(tmp_path)
    sd.ClipScore(tmp_path)(pictures(3)[:1], ["abcdefghijklmnopqrstuvwxyz"])
    assert "clip_score" in capsys.readouterr().err


def test_a_comparison_has_the_score_of_each_cell_and_goes_on(tmp_path: Path) -> None:
    clip_folder(tmp_path / "clip")
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join([*TEXTS[:1], "a blue square"]) + "\n")
    given = {
        "n": [4, 6], "nfe": [2], "prompts": file, "clip_score": tmp_path / "clip",
        "reference": torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), "metrics": (),
        "extractor": "pixel", "progress": False, "batch_size": 4,
    }  # fmt: skip
    rows = sd.compare("shapes", ["ddim"], folder=tmp_path / "out", **given)
    assert [row["samples"] for row in rows] == [4, 6]
    images = sd.load("shapes").sample(
        n=6, nfe=2, solver="ddim", sde="edm",
        prompt=[TEXTS[0], "a blue square"] * 3, seed=0,
    ).images  # fmt: skip
    scores = sd.ClipScore(tmp_path / "clip")(images, [TEXTS[0], "a blue square"] * 3)
    for row in rows:
        some = scores[: row["samples"]]
        assert row["clip_score"] == pytest.approx(float(some.mean()), abs=1e-3)
        assert row["clip_score_error"] == pytest.approx(float(some.std()) / len(some) ** 0.5, 1e-2)
    again = sd.compare("shapes", ["ddim"], folder=tmp_path / "out", **given)
    assert [row["clip_score"] for row in again] == [row["clip_score"] for row in rows]


def without_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


def without_processor(path: Path) -> None:
    (path / "preprocessor_config.json").unlink()


def without_words(path: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (path / name).unlink(missing_ok=True)


def another_model(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "model_type": "siglip"}))


def a_weight_short(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, path / "model.safetensors")


def no_folder(path: Path) -> None:
    shutil.rmtree(path)


@pytest.mark.parametrize(
    "spoil",
    [without_weights, without_processor, without_words, another_model, a_weight_short, no_folder],
)
def test_what_is_no_clip_is_one_line(spoil: Any, tmp_path: Path) -> None:
    clip_folder(tmp_path / "clip")
    spoil(tmp_path / "clip")
    with pytest.raises(InputError, match="clip_score=") as refused:
        sd.ClipScore(tmp_path / "clip")
    assert "\n" not in str(refused.value)


def test_without_sentences_there_is_nothing_to_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prompts="):
        sd.compare("shapes", ["ddim"], n=4, nfe=2, clip_score=tmp_path, progress=False)
