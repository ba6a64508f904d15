"""Folders that diffusers wrote are opened, drawn, and refused where nothing here can draw them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import sde_diffusion as sd
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [pretrained]")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
LEVELS = (0.02, 0.1, 0.5, 1.0, 3.0, 10.0, 50.0, 150.0)
SMALL = {
    "sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16),
    "layers_per_block": 1, "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"), "norm_num_groups": 4,
}  # fmt: skip


def unet(**more: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.UNet2DModel(**{**SMALL, **more}).eval()


def conditioned() -> Any:
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        **SMALL, mid_block_type="UNetMidBlock2D", cross_attention_dim=8, num_class_embeds=5
    ).eval()


def transformer() -> Any:
    torch.manual_seed(0)
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=1, out_channels=2, num_layers=1,
        sample_size=8, num_embeds_ada_norm=5,
    ).eval()  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], Any], list[int] | None]] = {
    "unet": (unet, None),
    "unet of classes": (lambda: unet(num_class_embeds=5), [4, 0]),
    "condition": (conditioned, [3, 1]),
    "transformer": (transformer, [2, 4]),
    "transformer without a label": (transformer, [-1, 1]),
}


def written(path: Path, network: Any, **scheduler: Any) -> Path:
    """A pipeline's folder with a DDPM scheduler."""
    network.save_pretrained(path / "unet")
    diffusers.DDPMScheduler(clip_sample=False, **scheduler).save_pretrained(path / "scheduler")
    index = {
        "_class_name": "DDPMPipeline", "unet": ["diffusers", type(network).__name__],
        "scheduler": ["diffusers", "DDPMScheduler"],
    }  # fmt: skip
    (path / "model_index.json").write_text(json.dumps(index))
    return path


@torch.no_grad()
def gap(name: str, tmp_path: Path) -> float:
    """Of D = x - sigma F(x / sqrt(1 + sigma^2), k) at eight levels, relative to the largest."""
    make, labels = NETWORKS[name]
    network = make()
    model = sd.load(written(tmp_path, network))
    alpha_bar = diffusers.DDPMScheduler().alphas_cumprod.double()
    table = ((1 - alpha_bar) / alpha_bar).sqrt()
    x, gaps = torch.randn(2, 1, 8, 8), []
    for level in LEVELS:
        k = int((table - level).abs().argmin())
        sigma = table[k]
        y = x * (1 + sigma.float() ** 2).sqrt()
        given: dict[str, Any] = {}
        if labels is not None:
            given["class_labels"] = torch.tensor([5 if label < 0 else label for label in labels])
        if name == "condition":
            given["encoder_hidden_states"] = None
        told = torch.full((2,), float(k))
        predicted = network(x, told, **given).sample[:, :1]
        cond = None if labels is None else Condition.label(labels)
        found = model.denoiser(y, sigma, cond)
        expected = y - sigma.float() * predicted
        gaps.append(float((found - expected).abs().max() / expected.abs().max()))
    return max(gaps)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_denoiser_is_the_networks_own_formula(name: str, tmp_path: Path) -> None:
    assert gap(name, tmp_path) < 1e-5


def test_a_folder_says_what_it_was_taken_for(tmp_path: Path) -> None:
    model = sd.load(written(tmp_path, unet(num_class_embeds=5), prediction_type="v_prediction"))
    said = {finding.key: finding.value for finding in model.findings}
    assert said["prediction"] == "v"
    assert said["family"] == "diffusers UNet2DModel"
    assert model.classes == 5
    assert model.sample(2, 4, label=[0, 3]).x.shape == (2, 1, 8, 8)


def test_a_network_without_an_empty_label_is_not_asked_without_one(tmp_path: Path) -> None:
    model = sd.load(written(tmp_path, unet(num_class_embeds=5)))
    with pytest.raises(InputError, match="label=null"):
        model.sample(2, 4)
    with pytest.raises(InputError, match="label=null"):
        model.sample(2, 8, label=1, guidance="cfg")


def test_shards_and_old_names_are_read(tmp_path: Path) -> None:
    network = unet(down_block_types=("DownBlock2D", "AttnDownBlock2D"))
    path = written(tmp_path, network)
    whole = sd.load(path).sample(1, 4, solver="ddim").x
    network.save_pretrained(path / "unet", max_shard_size="20KB")
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
    assert (path / "unet" / "diffusion_pytorch_model.safetensors.index.json").is_file()
    assert torch.equal(sd.load(path).sample(1, 4, solver="ddim").x, whole)
    for file in (path / "unet").glob("*.safetensors*"):
        file.unlink()
    new = (".to_q.", ".to_k.", ".to_v.", ".to_out.0.")
    old = (".query.", ".key.", ".value.", ".proj_attn.")
    state = {}
    for name, value in network.state_dict().items():
        for a, b in zip(new, old, strict=True):
            name = name.replace(a, b)
        state[name] = value
    assert any(".proj_attn." in name for name in state)
    torch.save(state, path / "unet" / "diffusion_pytorch_model.bin")
    assert torch.equal(sd.load(path).sample(1, 4, solver="ddim").x, whole)


INDEX: dict[str, tuple[dict[str, Any], str]] = {
    "an autoencoder": ({"vae": ["diffusers", "AutoencoderKL"]}, "latents"),
    "code of the folder": ({"unet": ["my_module", "UNet2DModel"]}, "not run"),
    "a text encoder": ({"text_encoder": ["transformers", "CLIPTextModel"]}, "text_encoder"),
    "no network": ({"unet": [None, None]}, "0 networks"),
    "distilled": ({"_class_name": "SCMPipeline"}, "no denoiser"),
}


@pytest.mark.parametrize("name", INDEX)
def test_a_pipeline_that_cannot_be_drawn_is_refused_in_a_line(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, unet())
    index = json.loads((path / "model_index.json").read_text())
    change, says = INDEX[name]
    (path / "model_index.json").write_text(json.dumps({**index, **change}))
    with pytest.raises(InputError, match=says) as caught:
        sd.load(path)
    assert "\n" not in str(caught.value)
