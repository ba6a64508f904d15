"""DiT's and SiT's checkpoints (arXiv:2212.09748 and arXiv:2401.08740), read as data.

A file is a dictionary of weights, or {"model", "ema", "opt", "args"}, whose average is taken. Both
have the same layers; which of the two it is stands in the arguments of a training, or is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.denoisers.labels import StepLabel
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import Finding, OpenedModel
from sde_diffusion.models.sources.foreign import (
    build,
    content_of,
    names_layers,
    refuse_latents,
    shapes_of,
    unsaid,
)
from sde_diffusion.models.sources.layout import State, Taker, weights_of
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks.dit_published import FEATURES
from sde_diffusion.networks.layers.published import Sinusoids

FAMILIES = ("dit", "sit")
# Published: width -> heads of attention, which the weights do not say.
HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}
BLOCK = {
    "modulation": "adaLN_modulation.1",
    "qkv": "attn.qkv",
    "out": "attn.proj",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
}
# What a training of SiT may have chosen otherwise.
CHOSEN = {"path_type": "Linear", "prediction": "velocity"}
# Levels of SiT, whose time from noise to data is 0 .. 1.
LEVELS = (0.001, math.inf)


def recognised(path: Path) -> bool:
    """Whether it is a file of tensors that names DiT's layers."""
    return names_layers(path, b"x_embedder.proj.weight", b"adaLN_modulation.1.weight")


def opened(
    path: Path, dtype: torch.dtype, family: str | None = None, heads: int | None = None
) -> OpenedModel:
    """The network of a DiT or SiT checkpoint, averaged where the file has an average.

    Args:
        family: dit or sit, where the file does not say it. heads: of attention; left out, as
            published for the width.
    """
    content = content_of(path)
    try:
        kept, evidence = weights_of(content, "DiT or SiT")
        named, reason = family_of(content, family)
        spec, weights, findings = converted(kept, named, heads)
        refuse_latents(spec)
    except InputError as error:
        raise InputError(f"checkpoint={path}: {error}") from error
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"checkpoint={path}: its weights are not DiT's or SiT's ({error!r:.100}); give a file "
            "of their authors' code"
        ) from error
    first = (Finding("family", named, reason), Finding("weights", evidence, "keys of the file"))
    return build(path, spec, weights, dtype, first + findings)


def family_of(content: Mapping[str, Any], asked: str | None) -> tuple[str, str]:
    """dit or sit, and what says so; InputError where nothing does, or for another process."""
    if asked is not None and asked not in FAMILIES:
        raise InputError(f"family={asked}: give family=dit or family=sit")
    args = content.get("args")
    args = args if isinstance(args, dict) else {}
    written = str(args.get("model", "")).split("-")[0].lower()
    if asked is None and written not in FAMILIES:
        raise unsaid("the weights of a DiT or a SiT, whose names are alike", "family", "dit or sit")
    if asked is not None and written in FAMILIES and asked != written:
        raise InputError(f"family={asked}: the file's args say {args['model']}; leave family out")
    for key, published in CHOSEN.items():
        if written == "sit" and args.get(key, published) != published:
            raise InputError(f"{key}={args[key]}: only SiT's {published} is known; train with that")
    return asked or written, "args.model" if written in FAMILIES else "family, as given"


def converted(
    state: Mapping[str, Tensor], family: str, heads: int | None
) -> tuple[Spec, State, tuple[Finding, ...]]:
    """Our spec and weights, and what they were read off; arguments as of ``opened``."""
    args = arguments(state, heads)
    convention, levels = _convention(family)
    channels, size, classes = args["channels"], args["size"], args["classes"]
    latents = channels not in (1, 3)
    spec = Spec(
        "dit_published",
        args,
        "convention",
        convention,
        (channels, size, size),
        *levels,
        classes=classes,
        kind="latents" if latents else "pixels",
    )
    shapes, taker = shapes_of(spec), Taker(state)
    _take(taker, args)
    published = "as published" if heads is None else "as given"
    findings = (
        Finding("prediction", str(convention["prediction"]), "family"),
        Finding("label", str(convention["label"]), "family"),
        Finding("levels", f"{levels[0]:.4g} .. {levels[1]:.4g}", "family"),
        Finding("heads", str(args["heads"]), f"not in the file: {published}"),
        Finding("learned variance", str(args["learned_variance"]), "shape of final_layer.linear"),
        Finding("classes", str(classes), "shape of y_embedder; its last row is no class"),
    )
    return spec, taker.finish(shapes), findings


def _convention(family: str) -> tuple[dict[str, Any], tuple[float, float]]:
    """The parameterization of a family, and its levels."""
    if family == "dit":
        table = StepLabel("linear").sigmas
        args = {"prediction": "epsilon", "scaling": "variance"}
        label: dict[str, Any] = {"kind": "steps", "schedule": "linear"}
        return {**args, "label": label}, (float(table[0]), float(table[-1]))
    label = {"kind": "flow_time", "factor": 1.0, "clean": True}
    return {"prediction": "minus_flow", "scaling": "flow", "label": label}, LEVELS


def arguments(state: Mapping[str, Tensor], heads: int | None) -> dict[str, Any]:
    """The arguments of our network, read off names and shapes."""
    width, channels, patch, _ = state["x_embedder.proj.weight"].shape
    tokens, rows = state["pos_embed"].shape[1], state["final_layer.linear.weight"].shape[0]
    if heads is None and width not in HEADS:
        raise unsaid(f"{width} features, which no published model has", "heads", "their number")
    return {
        "channels": channels,
        "size": math.isqrt(tokens) * patch,
        "width": width,
        "depth": 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks.")),
        "heads": HEADS[width] if heads is None else heads,
        "patch": patch,
        "ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "classes": state["y_embedder.embedding_table.weight"].shape[0] - 1,
        "learned_variance": rows == 2 * channels * patch**2,
    }


def _take(taker: Taker, args: Mapping[str, Any]) -> None:
    """The tensors of every layer; rows of the head from (p, p, C) to (C, p, p)."""
    taker.taken["positions"] = taker.pop("pos_embed").squeeze(0)
    taker.taken["features.frequencies"] = Sinusoids(FEATURES).frequencies
    taker.take("embed.0", "t_embedder.mlp.0")
    taker.take("embed.1", "t_embedder.mlp.2")
    taker.take("embed_class", "y_embedder.embedding_table", ("weight",))
    taker.taken["stem.weight"] = taker.pop("x_embedder.proj.weight").flatten(1)
    taker.taken["stem.bias"] = taker.pop("x_embedder.proj.bias")
    for i in range(args["depth"]):
        taker.take_each(f"blocks.{i}", f"blocks.{i}", BLOCK)
    taker.take("head_modulation", "final_layer.adaLN_modulation.1")
    for part in ("weight", "bias"):
        rows = taker.pop(f"final_layer.linear.{part}")
        split = rows.unflatten(0, (args["patch"] ** 2, -1))
        taker.taken[f"head.{part}"] = split.transpose(0, 1).flatten(0, 1)
