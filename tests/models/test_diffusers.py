"""Folders that diffusers wrote are opened, drawn, and refused where nothing here can draw them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

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
    with pytest.raises(InputError, match="label=None"):
        model.sample(2, 4)
    with pytest.raises(InputError, match="label=None"):
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


WEIGHTS = "diffusion_pytorch_model"


def moved(prefix: str) -> Callable[[Path, dict[str, torch.Tensor]], None]:
    return lambda folder, state: save_file(
        {f"{prefix}{name}": value for name, value in state.items()},
        folder / f"{WEIGHTS}.safetensors",
    )


def pickled(name: str, **how: Any) -> Callable[[Path, dict[str, torch.Tensor]], None]:
    return lambda folder, state: torch.save(state, folder / name, **how)


def shards_of_pickles(folder: Path, state: dict[str, torch.Tensor]) -> None:
    files = [f"{WEIGHTS}-0000{k}-of-00002.bin" for k in (1, 2)]
    names = {name: files[k % 2] for k, name in enumerate(state)}
    for file in files:
        torch.save({name: state[name] for name in state if names[name] == file}, folder / file)
    (folder / f"{WEIGHTS}.bin.index.json").write_text(json.dumps({"weight_map": names}))


def nested(folder: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({"state_dict": state, "epoch": 3}, folder / f"{WEIGHTS}.bin")


def averaged(folder: Path, state: dict[str, torch.Tensor]) -> None:
    raw = {name: 2 * value for name, value in state.items()}
    torch.save({"state_dict": raw, "ema_state_dict": state}, folder / f"{WEIGHTS}.bin")


def inner(mark: str) -> Callable[[Path, dict[str, torch.Tensor]], None]:
    """Parts that were wrapped by themselves, as FSDP does with each block."""
    return lambda folder, state: save_file(
        {name.replace("mid_block.", f"mid_block.{mark}."): value for name, value in state.items()},
        folder / f"{WEIGHTS}.safetensors",
    )


SAME: dict[str, Callable[[Path, dict[str, torch.Tensor]], None]] = {
    "an average beside": averaged,
    "of DeepSpeed": lambda folder, state: torch.save({"module": state}, folder / f"{WEIGHTS}.bin"),
    "a part of FSDP": inner("_fsdp_wrapped_module"),
    "a part compiled": inner("_orig_mod"),
    "a part of checkpoints": inner("_checkpoint_wrapped_module"),
    "compiled": moved("_orig_mod."),
    "parallel": moved("module."),
    "of before zip": pickled(f"{WEIGHTS}.bin", _use_new_zipfile_serialization=False),
    "of a variant": pickled(f"{WEIGHTS}.fp16.bin"),
    "shards of pickles": shards_of_pickles,
    "within a training": nested,
}


@pytest.mark.parametrize("name", SAME)
def test_weights_as_others_write_them_are_the_same(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, unet())
    whole = sd.load(path).sample(1, 4, solver="ddim").x
    file = path / "unet" / f"{WEIGHTS}.safetensors"
    state = load_file(file)
    file.unlink()
    SAME[name](path / "unet", state)
    assert torch.equal(sd.load(path).sample(1, 4, solver="ddim").x, whole)


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("unet/config", {"sample_size": 7}, "halve multiples of 2 alone"),
        ("unet/config", {"sample_size": None}, "no size of an image; write that"),
        ("unet/config", {"in_channels": None}, "in_channels=None is no number of channels"),
        ("scheduler/scheduler_config", {"trained_betas": [0.1, 0.2, 0.3]},
         "num_train_timesteps=1000, and trained_betas has 3"),
        ("scheduler/scheduler_config", {"use_karras_sigmas": True, "use_beta_sigmas": True},
         "use_karras_sigmas and use_beta_sigmas; only one"),
    ],
)  # fmt: skip
def test_entries_that_contradict_are_one_line(
    part: str, change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = written(tmp_path, unet())
    file = path / f"{part}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(InputError, match=says) as caught:
        sd.load(path)
    assert "\n" not in str(caught.value)


def whole_and_shards(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file({name: 0 * value for name, value in state.items()}, folder / "part.safetensors")
    names = dict.fromkeys(state, "part.safetensors")
    index = json.dumps({"weight_map": names})
    (folder / f"{WEIGHTS}.safetensors.index.json").write_text(index)
    save_file(state, folder / f"{WEIGHTS}.safetensors")


def without_one(folder: Path, state: dict[str, torch.Tensor]) -> None:
    state.pop("conv_in.bias")
    save_file(state, folder / f"{WEIGHTS}.safetensors")


def shards_without_index(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, folder / f"{WEIGHTS}-00001-of-00001.safetensors")


UNFIT: dict[str, tuple[Callable[[Path, dict[str, torch.Tensor]], None], str]] = {
    # diffusers takes the shards, and the whole file was drawn.
    "whole and in shards": (whole_and_shards, "shards of it too .* keep one of the two"),
    "shards alone": (shards_without_index, f"but no {WEIGHTS}.safetensors.index.json; fetch that"),
    "one missing": (without_one, "conv_in.bias is not there; fetch weights and config of one"),
    "one more": (
        lambda folder, state: save_file(
            {**state, "logvar": torch.zeros(1)}, folder / f"{WEIGHTS}.safetensors"
        ), "logvar is of no layer",
    ),
    "another shape": (
        lambda folder, state: save_file(
            {**state, "conv_in.bias": torch.zeros(3)}, folder / f"{WEIGHTS}.safetensors"
        ), r"conv_in.bias is \[3\], not \[8\]",
    ),
    "another ending": (pickled(f"{WEIGHTS}.pt"), f"call {WEIGHTS}.pt so, if"),
    "two averages": (
        lambda folder, state: torch.save(
            {"a_ema": state, "b_ema": state}, folder / f"{WEIGHTS}.bin"
        ), "by several names, a_ema, b_ema",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_weights_that_do_not_fit_say_which_and_why(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, unet())
    file = path / "unet" / f"{WEIGHTS}.safetensors"
    state = load_file(file)
    file.unlink()
    change, says = UNFIT[name]
    change(path / "unet", state)
    with pytest.raises(InputError, match=says) as caught:
        sd.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64])
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_weights_that_are_no_floats_are_refused(
    dtype: torch.dtype, ending: str, tmp_path: Path
) -> None:
    path = written(tmp_path, unet())
    file = path / "unet" / f"{WEIGHTS}.safetensors"
    state = {name: value.to(dtype) for name, value in load_file(file).items()}
    file.unlink()
    new = file.with_suffix(f".{ending}")
    save_file(state, new) if ending == "safetensors" else torch.save(state, new)
    with pytest.raises(InputError, match=r"no floats?: quantised"):
        sd.load(path)


def test_a_config_without_a_class_is_of_that_of_the_index(tmp_path: Path) -> None:
    path = written(tmp_path, unet())
    whole = sd.load(path).sample(1, 4, solver="ddim").x
    file = path / "unet" / "config.json"
    config = json.loads(file.read_text())
    del config["_class_name"]
    file.write_text(json.dumps(config))
    assert torch.equal(sd.load(path).sample(1, 4, solver="ddim").x, whole)


def test_a_scheduler_by_its_name_alone_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, unet())
    with pytest.raises(InputError, match=r"scheduler='DDIM': give entries by name"):
        sd.load(path, scheduler="DDIM")
    with pytest.raises(InputError, match="has no _class_name"):
        sd.load(path, scheduler={})


def test_a_flow_shifted_towards_the_image_is_drawn(tmp_path: Path) -> None:
    """Its least level lies below that of other flows, and its own grid was refused."""
    unet().save_pretrained(tmp_path / "unet")
    diffusers.FlowMatchEulerDiscreteScheduler(shift=0.3).save_pretrained(tmp_path / "scheduler")
    index = {"_class_name": "P", "unet": ["diffusers", "UNet2DModel"],
             "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}  # fmt: skip
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert sd.load(tmp_path).sample(1, 5, solver="ddim").x.isfinite().all()


def test_pixels_are_not_decoded_in_tiles(tmp_path: Path) -> None:
    """The option was taken, and nothing came of it."""
    path = written(tmp_path, unet())
    with pytest.raises(InputError, match=r"tiling=true: a model of pixels .* leave it out"):
        sd.load(path, tiling=True)
    assert sd.load(path, tiling=False).classes == 0
