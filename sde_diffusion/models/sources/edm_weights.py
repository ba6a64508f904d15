"""EDM's and EDM2's weights by our names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.models.sources.layout import UPWARD, State, Taker, Unit, split_qkv, units

BLOCK = {
    "norm_in": "norm0",
    "conv_in": "conv0",
    "affine": "affine",
    "norm_out": "norm1",
    "conv_out": "conv1",
}
EDM2_BLOCK = {"conv_in": "conv_res0", "affine": "emb_linear", "conv_out": "conv_res1"}
W = ("weight",)


def weights(
    kind: str, size: int, args: Mapping[str, Any], shapes: Mapping[str, torch.Size], state: State
) -> State:
    """The weights of our network.

    Args:
        kind: SongUNet, DhariwalUNet or EDM2. size: of the images, which names their resolutions.
        args: of our network. shapes: of its weights. state: theirs.
    """
    taker = Taker(state)
    taker.forget(
        "resample_filter", "logvar_fourier.freqs", "logvar_fourier.phases", "logvar_linear.weight"
    )
    if kind == "EDM2":
        _edm2(taker, size, shapes)
    else:
        _edm(taker, size, args, shapes, song=kind == "SongUNet")
    return taker.finish(shapes)


def theirs(unit: Unit, size: int, root: str) -> str:
    """What EDM calls a unit."""
    side = f"{size >> unit.level}x{size >> unit.level}"
    upward = unit.place >= UPWARD
    last = {
        "stem": "conv",
        "down": "down",
        "up": "up",
        "middle": f"in{unit.place}",
        "block": f"block{unit.place % UPWARD}",
    }[unit.kind]
    way = "dec" if upward or unit.kind in ("up", "middle") else "enc"
    return f"{root}.{way}.{side}_{last}"


def _edm(
    taker: Taker, size: int, args: Mapping[str, Any], shapes: Mapping[str, torch.Size], song: bool
) -> None:
    for unit in units(shapes):
        side = f"{size >> unit.level}x{size >> unit.level}"
        if unit.kind == "inlet":
            form = "aux_residual" if args["encoder"] == "residual" else "aux_skip"
            taker.take(unit.name, f"model.enc.{side}_{form}")
        elif unit.kind == "outlet":
            norm, conv = (
                (f"{unit.name}.0", f"{unit.name}.2") if unit.name else ("head_norm", "head")
            )
            taker.take(norm, f"model.dec.{side}_aux_norm" if song else "model.out_norm")
            taker.take(conv, f"model.dec.{side}_aux_conv" if song else "model.out_conv")
        elif unit.kind == "stem":
            taker.take("stem", theirs(unit, size, "model"))
        else:
            _block(taker, unit, theirs(unit, size, "model"), shapes, song)
    _edm_embedding(taker, args, song)


def _block(
    taker: Taker, unit: Unit, name: str, shapes: Mapping[str, torch.Size], song: bool
) -> None:
    taker.take_each(unit.name, name, BLOCK)
    if f"{unit.name}.skip.weight" in shapes:
        taker.take(f"{unit.name}.skip", f"{name}.skip")
    if unit.attends:
        taker.take(f"{unit.name}.attention.norm", f"{name}.norm2")
        taker.take(f"{unit.name}.attention.out", f"{name}.proj")
        for part in ("weight", "bias"):
            rows = taker.pop(f"{name}.qkv.{part}")
            heads = 1 if song else rows.shape[0] // (3 * 64)
            taker.taken[f"{unit.name}.attention.qkv.{part}"] = split_qkv(
                rows, max(heads, 1), "head-channel-qkv"
            )


def _edm_embedding(taker: Taker, args: Mapping[str, Any], song: bool) -> None:
    taker.take("embed.0", "model.map_layer0")
    taker.take("embed.1", "model.map_layer1")
    if args["augment"]:
        taker.take("embed_augment", "model.map_augment", W)
    if args["classes"] and song:
        taker.take("embed_class", "model.map_label")
    elif args["classes"]:
        taker.taken["embed_class.weight"] = taker.pop("model.map_label.weight").t()
    if song and args["fourier"]:
        taker.taken["features.frequencies"] = taker.pop("model.map_noise.freqs")
    else:
        half = args["noise"] // 2
        steps = torch.arange(half, dtype=torch.float32) / (half - song)
        taker.taken["features.frequencies"] = (1 / 10000) ** steps


def _edm2(taker: Taker, size: int, shapes: Mapping[str, torch.Size]) -> None:
    for unit in units(shapes):
        if unit.kind == "outlet":
            continue
        name = theirs(unit, size, "unet")
        if unit.kind == "stem":
            taker.take("stem", name, W)
            continue
        for ours, part in EDM2_BLOCK.items():
            taker.take(f"{unit.name}.{ours}", f"{name}.{part}", W)
        taker.taken[f"{unit.name}.gain"] = taker.pop(f"{name}.emb_gain")
        if f"{unit.name}.skip.weight" in shapes:
            taker.take(f"{unit.name}.skip", f"{name}.conv_skip", W)
        if f"{unit.name}.qkv.weight" in shapes:
            taker.take(f"{unit.name}.out", f"{name}.attn_proj", W)
            rows = taker.pop(f"{name}.attn_qkv.weight")
            heads = _heads(rows)
            taker.taken[f"{unit.name}.qkv.weight"] = split_qkv(rows, heads, "head-channel-qkv")
    for ours, name in (
        ("embed_noise", "emb_noise"),
        ("embed_class", "emb_label"),
        ("head", "out_conv"),
    ):
        if f"{ours}.weight" in shapes:
            taker.take(ours, f"unet.{name}", W)
    taker.taken["head_gain"] = taker.pop("unet.out_gain")
    taker.taken["features.frequencies"] = taker.pop("unet.emb_fourier.freqs")
    taker.taken["features.phases"] = taker.pop("unet.emb_fourier.phases")


def _heads(rows: Tensor) -> int:
    return max(rows.shape[0] // (3 * 64), 1)
