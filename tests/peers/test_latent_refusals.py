"""What of a latent pipeline's folder, prompts and calls cannot be drawn is one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import sde_diffusion as sd
from sde_diffusion.errors import InputError
from tests.conftest import Run
from tests.peers.spoiling import Change, edited, part, pickled, spoiled, weights, without

tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module", name="folder")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small Stable Diffusion."""
    path = tmp_path_factory.mktemp("sd15")
    tiny.sd15().save_pretrained(path)
    return path


INDEX = "model_index.json"
FOLDERS: dict[str, tuple[Change, str]] = {
    "no vae": (without("vae"), "vae: no such folder"),
    "no text encoder": (without("text_encoder"), "text_encoder: no such folder"),
    "no tokenizer": (without("tokenizer"), "tokenizer: no such folder"),
    "no network": (without("unet"), "unet: no such folder"),
    "no weights": (without("unet/diffusion_pytorch_model.safetensors"), "unet: has no"),
    "no scheduler": (without("scheduler"), "scheduler_config.json: no such file"),
    "no index entry": (edited(INDEX, text_encoder=[None, None]), "names no text_encoder"),
    "code": (edited(INDEX, unet=["my_code", "Net"]), "my_code"),
    "class": (edited(INDEX, text_encoder=["transformers", "GPT2Model"]), "GPT2Model"),
    "pipeline": (edited(INDEX, _class_name="KandinskyPipeline"), "KandinskyPipeline"),
    "inpainting": (edited("unet/config.json", in_channels=9), "takes 9 channels"),
    "torn json": (lambda path: (path / "vae/config.json").write_text("{"), "no JSON"),  # type: ignore[arg-type,return-value]
    "scheduler": (
        edited("scheduler/scheduler_config.json", _class_name="SCMScheduler"), "SCMScheduler",
    ),
    "encoder width": (
        part("text_encoder", lambda: tiny.clip_text(width=32)), "makes features of width 32",
    ),
    "vae of other latents": (part("vae", lambda: tiny.vae(channels=8)), "takes 4 channels"),
    "a scale of 0": (edited("vae/config.json", scaling_factor=0), "scaling_factor=0: write a num"),
    "a scale in quotes": (
        edited("vae/config.json", scaling_factor="0.18215"), "scaling_factor=0.18215: write",
    ),
    "a switch in quotes": (
        edited(INDEX, force_zeros_for_empty_prompt="false", _class_name="StableDiffusionXLPipeline",
               text_encoder_2=["transformers", "CLIPTextModel"],
               tokenizer_2=["transformers", "CLIPTokenizer"]),
        "force_zeros_for_empty_prompt=false: write true or false",
    ),
    "words of another encoder": (
        part("text_encoder", lambda: tiny.clip_text(vocabulary=20)), "knows 20",
    ),
    "weights of another network": (
        weights("unet", lambda: tiny.unet(16, transformer_layers_per_block=2)), "unet: ",
    ),
    "pickle": (pickled("unet"), "is a pickle"),
    "classes beside a text": (
        part("unet", lambda: tiny.unet(16, num_class_embeds=10)), "num_class_embeds=10: is told",
    ),
    "embedded classes": (
        part("unet", lambda: tiny.unet(16, class_embed_type="timestep")), "class_embed_type=times",
    ),
    "the unet of another kind": (
        part("unet", lambda: tiny.unet(
            16, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=64,
        )), "addition_embed_type=text_time: is told something beside",
    ),
    "projected features": (
        part("unet", lambda: tiny.unet(
            16, encoder_hid_dim=12, encoder_hid_dim_type="text_proj"
        )), r"width 16, and unet reads 12 \(encoder_hid_dim\)",
    ),
    "a tokenizer without words": (without("tokenizer/tokenizer.json"), "has no vocabulary"),
    "a pickled encoder": (
        lambda path: (path / "text_encoder/model.safetensors").rename(  # type: ignore[arg-type,return-value]
            path / "text_encoder/pytorch_model.bin"
        ), "text_encoder: pytorch_model.bin is a pickle",
    ),
    "two kinds of scheduler": (
        edited(INDEX, scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]),
        "scheduler_config.json says DDIMScheduler, of another kind",
    ),
    "ONNX": (edited(INDEX, unet=["diffusers", "OnnxRuntimeModel"]), "programs of ONNX; give"),
    "Flax": (edited(INDEX, unet=["diffusers", "FlaxUNet2DConditionModel"]), "from_flax=True"),
    "a pipeline of its own code": (edited(INDEX, _class_name=["pipeline", "Mine"]), "not read"),
    "index no json": (lambda path: (path / INDEX).write_text("[]"), "model_index.json"),  # type: ignore[arg-type,return-value]
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_does_not_open_says_so_in_one_line(
    folder: Path, tmp_path: Path, name: str
) -> None:
    change, words = FOLDERS[name]
    with pytest.raises(InputError, match=words) as refusal:
        sd.load(spoiled(folder, tmp_path / "spoiled", change))
    assert "\n" not in str(refusal.value)


PROMPTS = {
    "empty lines": ("a cube\n\na ball\n", "line 2 is empty"),
    "nothing": ("\n \n", "has no sentence"),
    "a long one": (f"a cube\n{'red ' * 40}\n", "tokens; this model reads 16 at most"),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_file_of_prompts_is_read_line_for_line(
    folder: Path, tmp_path: Path, quick_cli: Run, name: str
) -> None:
    text, words = PROMPTS[name]
    (tmp_path / "prompts.txt").write_text(text)
    done = quick_cli(
        "sample", f"checkpoint={folder}", "prompts=prompts.txt", "n=2", "nfe=2", "size=[16,16]",
        ok=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"size": (17, 16)}, r"size=\[17, 16\]: height and width are multiples of 4"),
    "sides": ({"size": (16, 16, 16)}, "size=.*give height and width"),
    "picture": ({"start": torch.zeros(3, 24, 24)}, r"give size=\[24, 24\] too"),
    "text": ({"prompt": "red " * 40}, "tokens; this model reads 16 at most"),
    "prompts": ({"prompt": ["a", "b"]}, "2 sentences for 1 images"),
    "no text": ({"prompt": 7}, "prompt: give a sentence"),
    "negative": ({"negative": "blue"}, 'give guidance="cfg"'),
    "label": ({"label": 3}, "takes no label"),
    "distilled": ({"embedded_guidance": 3.0}, "takes no embedded_guidance"),
    "grid": ({"grid": "karras"}, "outside the model's training range"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_pipeline_cannot_draw_is_refused_in_one_line(folder: Path, name: str) -> None:
    given, words = CALLS[name]
    with pytest.raises(InputError, match=words) as refusal:
        sd.load(folder).sample(1, 4, **given)
    assert "\n" not in str(refusal.value)


def test_a_distilled_model_hears_no_negative_prompt(tmp_path: Path) -> None:
    tiny.flux().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="distilled with its guidance"):
        sd.load(tmp_path).sample(1, 4, prompt="a", negative="blue", guidance="cfg")


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_a_flow_under_a_scheduler_of_noise_is_refused(kind: str, tmp_path: Path) -> None:
    """Its velocity was taken for noise."""
    tiny.KINDS[kind]().save_pretrained(tmp_path)
    tiny.scheduler().save_pretrained(tmp_path / "scheduler")
    edited(INDEX, scheduler=["diffusers", "DDIMScheduler"])(tmp_path)
    with pytest.raises(InputError, match=r"DDIMScheduler is of no flow, .* write the model's own"):
        sd.load(tmp_path)
