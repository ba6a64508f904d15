"""Whether a pipeline's network reads what its text encoders make, and nothing beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sde_diffusion.conditions.encoded import SentenceEncoder
from sde_diffusion.errors import InputError

SIZES = 6  # numbers that SDXL is told of a picture's size
MIXED = "parts of two models are mixed up"


def check_inputs(
    encoder: SentenceEncoder, config: Mapping[str, Any], part: str, width: str
) -> None:
    """InputError for a network that reads other features than ``encoder`` makes, or more.

    Args:
        config: of the network. part: what the folder calls it. width: entry of its config that the
            features of a text must fit.
    """
    empty = encoder.encode([""])
    have, pooled = empty["value"].shape[-1], empty.get("pooled")
    if config.get("encoder_hid_dim") is not None:
        width = "encoder_hid_dim"
    wanted = config.get(width)
    if isinstance(wanted, int) and wanted != have:
        raise InputError(
            f"text_encoder: makes features of width {have}, and {part} reads {wanted} "
            f"({width}); {MIXED}"
        )
    vectors = config.get("pooled_projection_dim")
    if isinstance(vectors, int) and pooled is not None and pooled.shape[-1] != vectors:
        raise InputError(
            f"text_encoder: pooled vectors of width {pooled.shape[-1]}, and {part} reads "
            f"{vectors}; {MIXED}"
        )
    if part == "unet":
        _check_unet(config, None if pooled is None else pooled.shape[-1])


def _check_unet(config: Mapping[str, Any], pooled: int | None) -> None:
    """InputError for a ``UNet2DConditionModel`` that is told more than a text, or another size."""
    usual = {
        "class_embed_type": (None,),
        "num_class_embeds": (None,),
        "encoder_hid_dim_type": (None, "text_proj"),
        "addition_embed_type": (None, "text") if pooled is None else ("text_time",),
    }
    for key, allowed in usual.items():
        if (value := config.get(key)) not in allowed:
            raise InputError(
                f"unet: {key}={str(value)[:40]}: is told something beside the text of this "
                f"pipeline, which is not read; give a model without, or {MIXED}"
            )
    side, each = (
        config.get(f"{name}")
        for name in ("projection_class_embeddings_input_dim", "addition_time_embed_dim")
    )
    if pooled is None or not isinstance(side, int) or not isinstance(each, int):
        return
    if side != pooled + SIZES * each:
        raise InputError(
            f"unet: is told {side} numbers beside the text, and a pooled vector of {pooled} with "
            f"{SIZES} sizes are {pooled + SIZES * each}: of a refiner, which is told how good a "
            "picture is and not read; give the base model"
        )
