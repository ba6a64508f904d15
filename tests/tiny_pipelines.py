"""Pipelines of diffusers with random weights, a few thousand each, and tokenizers built by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [peers]")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed; see [peers]"
)
logging.getLogger("transformers").setLevel(logging.ERROR)

LETTERS = "abcdefghijklmnopqrstuvwxyz,."
CLIP_LENGTH, T5_LENGTH = 16, 12
WIDTHS = (8, 16)
BLOCKS = {
    "block_out_channels": WIDTHS,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
}


def clip_tokenizer() -> Any:
    """One token a letter, and one for its form at the end of a word."""
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "re</w>"]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[("r", "e</w>")],
        model_max_length=CLIP_LENGTH,
    )


def t5_tokenizer() -> Any:
    """One token a letter, by a unigram model."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in LETTERS]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=T5_LENGTH)


def clip_text(
    width: int = 16,
    seed: int = 0,
    projected: int | None = None,
    act: str = "quick_gelu",
    vocabulary: int | None = None,
) -> Any:
    tokenizer = clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=vocabulary or len(tokenizer), hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=CLIP_LENGTH,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, projection_dim=projected or width, hidden_act=act,
    )  # fmt: skip
    torch.manual_seed(seed)
    if projected:
        return transformers.CLIPTextModelWithProjection(config).eval()
    return transformers.CLIPTextModel(config).eval()


def t5_text(width: int = 32) -> Any:
    torch.manual_seed(5)
    config = transformers.T5Config(
        vocab_size=len(t5_tokenizer()), d_model=width, d_kv=8, d_ff=32, num_layers=2,
        num_heads=2, relative_attention_num_buckets=8, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return transformers.T5EncoderModel(config).eval()


def vae(channels: int = 4, **config: Any) -> Any:
    torch.manual_seed(1)
    given = {"scaling_factor": 0.18215, **BLOCKS, "sample_size": 16, **config}
    return diffusers.AutoencoderKL(latent_channels=channels, **given).eval()


def unet(width: int, **config: Any) -> Any:
    torch.manual_seed(2)
    return diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, cross_attention_dim=width,
        block_out_channels=WIDTHS, layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **config,
    ).eval()  # fmt: skip


BARE = {"use_quant_conv": False, "use_post_quant_conv": False}
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def scheduler(**more: Any) -> Any:
    config = {**STABLE, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **more}
    return diffusers.DDIMScheduler(**config)


def sd15(**of_unet: Any) -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=vae(), text_encoder=clip_text(), tokenizer=clip_tokenizer(), unet=unet(16, **of_unet),
        scheduler=scheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def sd21() -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=vae(), text_encoder=clip_text(act="gelu"), tokenizer=clip_tokenizer(),
        unet=unet(16, use_linear_projection=True),
        scheduler=scheduler(prediction_type="v_prediction"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> Any:
    wide = unet(
        32, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8, use_linear_projection=True,
    )  # fmt: skip
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025, force_upcast=True), text_encoder=clip_text(),
        text_encoder_2=clip_text(seed=3, projected=16, act="gelu"), tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(), unet=wide,
        scheduler=diffusers.EulerDiscreteScheduler(
            **STABLE, timestep_spacing="leading", steps_offset=1
        ),
        force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip


def sd3() -> Any:
    torch.manual_seed(2)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=32, caption_projection_dim=16,
        pooled_projection_dim=32, out_channels=4, pos_embed_max_size=16,
    ).eval()  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(scaling_factor=1.5305, shift_factor=0.0609, **BARE),
        text_encoder=clip_text(projected=16), tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(seed=3, projected=16, act="gelu"), tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_text(), tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


def flux(guidance_embeds: bool = True) -> Any:
    torch.manual_seed(2)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8), guidance_embeds=guidance_embeds,
    ).eval()  # fmt: skip
    return diffusers.FluxPipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15
        ),
        vae=vae(scaling_factor=0.3611, shift_factor=0.1159, **BARE),
        text_encoder=clip_text(), tokenizer=clip_tokenizer(), text_encoder_2=t5_text(),
        tokenizer_2=t5_tokenizer(),
    )  # fmt: skip


def pixart() -> Any:
    torch.manual_seed(2)
    transformer = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1,
        cross_attention_dim=16, sample_size=8, patch_size=2, caption_channels=32,
        use_additional_conditions=False,
    ).eval()  # fmt: skip
    return diffusers.PixArtAlphaPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5_text(), vae=vae(), transformer=transformer,
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )  # fmt: skip


def dit() -> Any:
    torch.manual_seed(2)
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1,
        sample_size=8, patch_size=2, num_embeds_ada_norm=1000,
    ).eval()  # fmt: skip
    return diffusers.DiTPipeline(
        transformer=transformer, vae=vae(), scheduler=diffusers.DDIMScheduler(clip_sample=False),
        id2label={k: f"thing {k}" for k in range(1000)},
    )  # fmt: skip


KINDS: dict[str, Callable[[], Any]] = {
    "sd15": sd15, "sd21": sd21, "sdxl": sdxl, "sd3": sd3, "flux": flux, "pixart": pixart,
    "dit": dit,
}  # fmt: skip
