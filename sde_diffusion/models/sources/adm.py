"""ADM's state dicts (guided-diffusion, arXiv:2105.05233), read as data.

A file is a bare dictionary of weights. Sizes, classes and doubled outputs are read off the shapes;
heads, the order of their rows and the noise schedule are not in the file: they are given, or as
published for the image size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sde_diffusion.denoisers.labels import StepLabel
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import Finding, OpenedModel
from sde_diffusion.models.schedulers import ends_said
from sde_diffusion.models.sources.foreign import (
    build,
    check_size,
    content_of,
    names_layers,
    shapes_of,
    unsaid,
)
from sde_diffusion.models.sources.layout import (
    UPWARD,
    State,
    Taker,
    Unit,
    split_qkv,
    units,
    weights_of,
)
from sde_diffusion.models.spec import Spec

BLOCK = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "affine": "emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
}
# Published: side of the images -> (noise schedule, new order of attention rows, heads or 0).
PUBLISHED = {64: ("cosine", True, 0), 128: ("linear", False, 4)}
OTHERS = ("linear", False, 0)


class Heads(NamedTuple):
    """How a layer of attention is cut: a number of heads, or 0 and channels a head; its rows."""

    number: int
    width: int
    new_order: bool

    def of(self, rows: Tensor) -> int:
        """Heads of a layer whose q, k and v are ``rows`` [3C, ...]."""
        return self.number or max(rows.shape[0] // (3 * self.width), 1)


def recognised(path: Path) -> bool:
    """Whether it is a file of tensors that names ADM's layers."""
    return names_layers(path, b"input_blocks.0.0", b"middle_block.1")


def opened(
    path: Path,
    dtype: torch.dtype,
    size: int | None = None,
    schedule: str | None = None,
    heads: int | None = None,
    head_width: int = 64,
    new_order: bool | None = None,
    consistency: bool = False,
) -> OpenedModel:
    """The network of a guided-diffusion checkpoint.

    Args:
        size: side of its images; needed, since nothing in the file says it.
        schedule: of its noise, linear or cosine. heads: of attention at every width; 0:
            ``head_width`` channels a head. new_order: use_new_attention_order. Where they are left
            out, they are as published for the size. consistency: the file is one of the consistency
            models of the same authors, which has the same layers and does not say so either.
    """
    if size is None:
        what = f"checkpoint={path}: an ADM network, whose file does not say its image size"
        raise unsaid(what, "size", "64, 128, 256 or 512")
    linear, order, count = PUBLISHED.get(size, OTHERS)
    if consistency and schedule is not None:
        raise InputError(
            f"schedule={schedule}: a consistency model of these authors has levels by Karras' "
            "formula, no betas; leave one of the two out"
        )
    if head_width < 1:
        raise InputError(f"head_width={head_width}: give the channels of a head, 64, say")
    content = content_of(path)
    try:
        state, held = weights_of(content, "guided-diffusion")
        spec, weights, findings = converted(
            state,
            size,
            schedule or linear,
            Heads(
                count if heads is None else heads,
                head_width,
                (order or consistency) if new_order is None else new_order,
            ),
            consistency,
        )
    except InputError as error:
        raise InputError(f"checkpoint={path}: {error}") from error
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"checkpoint={path}: its weights are not ADM's ({error!r:.100})"
        ) from error
    read = Finding("weights", held, "keys of the file")
    return build(path, spec, weights, dtype, (*findings, read))


def converted(
    state: Mapping[str, Tensor], size: int, schedule: str, heads: Heads, consistency: bool = False
) -> tuple[Spec, State, tuple[Finding, ...]]:
    """Our spec and weights, and what they were read off; arguments as of ``opened``."""
    if schedule not in ("linear", "cosine"):
        raise InputError(f"schedule={schedule}: choose linear or cosine")
    args = arguments(state, heads)
    check_size(size, args["widths"])
    channels, classes = args["channels"], args["classes"]
    kind, predicts, levels, grid = _process(schedule, consistency)
    spec = Spec(
        "adm", args, kind, predicts, (channels, size, size), *levels, classes=classes, config=grid
    )
    shapes, taker = shapes_of(spec), Taker(state)
    _take(taker, shapes, args, heads)
    published = "not in the file: as published for the size, or as given"
    findings = (
        Finding("family", "ADM", "layers input_blocks, middle_block, output_blocks"),
        *_said(schedule, consistency),
        Finding("heads", str(heads.number or f"of {heads.width} channels"), published),
        Finding("attention rows", "new order" if heads.new_order else "legacy order", published),
        Finding("learned variance", str(args["learned_variance"]), "shape of out.2"),
        Finding("classes", str(classes), "shape of label_emb.weight; no null class"),
        Finding("levels", f"{levels[0]:.4g} .. {levels[1]:.4g}", "the label"),
    )
    return spec, taker.finish(shapes), findings


def _process(
    schedule: str, consistency: bool
) -> tuple[str, dict[str, Any], tuple[float, float], dict[str, Any]]:
    """Parameterization, its arguments, ends of the levels, and the grid that is brought."""
    if consistency:
        return "consistency", {}, (0.002, 80.0), {"grid": {"few_steps": {}}}
    label = {"kind": "steps", "schedule": schedule}
    table = StepLabel(schedule).sigmas
    predicts = {"prediction": "epsilon", "scaling": "variance", "label": label}
    return "convention", predicts, (float(table[0]), float(table[-1])), {}


def _said(schedule: str, consistency: bool) -> tuple[Finding, Finding]:
    if consistency:
        ends = ends_said("consistency")
        return Finding("prediction", ends, "as given"), Finding(
            "label", "250 log(sigma)", "as published"
        )
    published = "not in the file: as published for the size, or as given"
    return Finding("prediction", "epsilon", "as published"), Finding(
        "label", f"step 0 .. 999 of {schedule} betas", published
    )


def arguments(state: Mapping[str, Tensor], heads: Heads) -> dict[str, Any]:
    """The arguments of our network, read off names and shapes."""
    stem, out = state["input_blocks.0.0.weight"], state["out.2.weight"]
    channels = stem.shape[1]
    if out.shape[0] not in (channels, 2 * channels):
        raise InputError(
            f"{channels} input and {out.shape[0]} output channels: an upsampler's file"
        )
    widths, attention, level, per_level = [stem.shape[0]], set(), 0, 0
    blocks = _blocks(state)
    conv = False
    count = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("input_blocks."))
    for i in range(1, count):
        name = f"input_blocks.{i}.0"
        conv |= f"{name}.op.weight" in state
        if f"{name}.op.weight" in state or per_level == blocks:
            level, per_level = level + 1, 0
            widths.append(widths[-1])
            continue
        widths[level] = state[f"{name}.out_layers.3.weight"].shape[0]
        per_level += 1
        if f"input_blocks.{i}.1.qkv.weight" in state:
            attention.add(level)
    scale_shift = state["input_blocks.1.0.emb_layers.1.weight"].shape[0] == 2 * widths[0]
    embedding, noise = state["time_embed.0.weight"].shape
    table = state.get("label_emb.weight")
    return {
        "channels": channels,
        "noise": noise,
        "widths": widths,
        "blocks": per_level,
        "attention": sorted(attention),
        "embedding": embedding,
        "head_width": 0 if heads.number else heads.width,
        "heads": heads.number or 1,
        "groups": 32,
        "scale_shift": scale_shift,
        "block_resample": not conv,
        "null_class": False,
        "classes": 0 if table is None else table.shape[0],
        "learned_variance": out.shape[0] == 2 * channels,
    }


def _blocks(state: Mapping[str, Tensor]) -> int:
    """Residual blocks of a level: on the way up there is one more, and the last of them turns."""
    endings = (".1.in_layers.2.weight", ".2.in_layers.2.weight", ".conv.weight")
    up = "output_blocks."
    turns = [int(k.split(".")[1]) for k in state if k.startswith(up) and k.endswith(endings)]
    if turns:
        return min(turns)
    return sum(k.startswith("input_blocks.") and k.endswith(".0.in_layers.2.weight") for k in state)


def _take(
    taker: Taker, shapes: Mapping[str, torch.Size], args: Mapping[str, Any], heads: Heads
) -> None:
    """The tensors of every unit, by the place of ADM's blocks in their lists."""
    going, coming = -1, -1
    for unit in units(shapes):
        upward = unit.kind == "up" or unit.place >= UPWARD
        if unit.kind == "middle":
            name = f"middle_block.{2 * unit.place}"
            _block(taker, unit, name, "middle_block.1", heads)
        elif unit.kind == "outlet":
            taker.take("head_norm", "out.0")
            taker.take("head", "out.2")
        elif unit.kind == "up":
            last = 2 if f"output_blocks.{coming}.1.qkv.weight" in taker.seen else 1
            _turn(taker, unit, f"output_blocks.{coming}.{last}", args, "conv")
        else:
            going, coming = (going, coming + 1) if upward else (going + 1, coming)
            name = f"output_blocks.{coming}" if upward else f"input_blocks.{going}"
            if unit.kind == "stem":
                taker.take("stem", f"{name}.0")
            elif unit.kind == "down":
                _turn(taker, unit, f"{name}.0", args, "op")
            else:
                _block(taker, unit, f"{name}.0", f"{name}.1", heads)
    taker.take("embed.0", "time_embed.0")
    taker.take("embed.1", "time_embed.2")
    if args["classes"]:
        taker.take("embed_class", "label_emb", ("weight",))
    half = args["noise"] // 2
    steps = torch.arange(half, dtype=torch.float32)
    taker.taken["features.frequencies"] = torch.exp(-math.log(10000) * steps / half)


def _turn(taker: Taker, unit: Unit, name: str, args: Mapping[str, Any], conv: str) -> None:
    """A block that halves or doubles, or the convolution in its place."""
    if args["block_resample"]:
        _block(taker, unit, name, "", Heads(1, 1, False))
    else:
        ours = unit.name if conv == "op" else f"{unit.name}.1"
        taker.take(ours, f"{name}.{conv}")


def _block(taker: Taker, unit: Unit, name: str, attention: str, heads: Heads) -> None:
    taker.take_each(unit.name, name, BLOCK)
    if f"{name}.skip_connection.weight" in taker.left:
        taker.take(f"{unit.name}.skip", f"{name}.skip_connection")
    if not unit.attends:
        return
    taker.take(f"{unit.name}.attention.norm", f"{attention}.norm")
    for part in ("weight", "bias"):
        out = taker.pop(f"{attention}.proj_out.{part}")
        rows = taker.pop(f"{attention}.qkv.{part}")
        order = "qkv-head-channel" if heads.new_order else "head-qkv-channel"
        split = split_qkv(rows, heads.of(rows), order)
        for ours, value in (("out", out), ("qkv", split)):
            image = value[..., None] if part == "weight" else value
            taker.taken[f"{unit.name}.attention.{ours}.{part}"] = image
