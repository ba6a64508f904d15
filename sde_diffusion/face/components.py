"""From keywords to the objects that several calls take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_diffusion.config import groups
from sde_diffusion.config.options import Options
from sde_diffusion.denoisers.space import Kind
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.guidance import Guidance
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.extractors.fitting import sides, usual
from sde_diffusion.models.opened import OpenedModel


def opened_model(model: Any) -> OpenedModel:
    """A model as it is, or the one that a name or path opens."""
    if isinstance(model, OpenedModel):
        return model
    if isinstance(model, str | Path):
        return load(model)
    kind = getattr(model, "__name__", type(model).__name__)
    raise InputError(
        f"model={kind}: give a model, wrap({kind}, shape=(3, 32, 32)), say, or the name or path "
        "of a checkpoint"
    )


def image_shape(model: OpenedModel) -> tuple[int, ...] | None:
    """Of the pictures (C, H, W) that a model draws; None where only its codec knows."""
    space = model.denoiser.space
    return space.shape if space.kind is Kind.PIXELS and None not in space.pattern else None


def data_of(model: OpenedModel) -> str:
    """The data set, with its split, that a model was trained on; empty where nobody knows."""
    return "" if model.spec is None else model.spec.data


def extractor_for(
    options: Options, choice: Any, shape: Sequence[int] | None, data: str = ""
) -> Extractor:
    """The extractor of pictures (C, H, W): an object, a name, {name: fields}, or None for the usual
    one of ``data``. One that has fields for the shape is told it."""
    fields = options.fields.get("extractor", {})
    if choice is None and (fields or shape is None):
        raise InputError("extractor: give one, 'inception', 'random-conv' or 'pixel', say")
    if choice is None and shape is not None:
        choice = usual(shape, data)
    elif isinstance(choice, str):
        choice = {choice: fields}
    elif fields:
        options.one("extractor", choice)  # refuses fields of what has its own
    if isinstance(choice, Mapping) and len(choice) == 1 and shape is not None:
        ((name, preset),) = choice.items()
        if preset is None or isinstance(preset, Mapping):
            choice = {name: {**sides(str(name), shape), **(preset or {})}}
    extractor: Extractor = groups.resolve("extractor", choice)
    return extractor


def by_name(guidance: Sequence[Guidance]) -> dict[str, Guidance]:
    """Each under the name that the command line has for it, in the same order."""
    named: dict[str, Guidance] = {}
    for each in guidance:
        name = groups.named("guidance", each) or type(each).__name__
        number = sum(key.partition("-")[0] == name for key in named)
        named[f"{name}-{number + 1}" if number else name] = each
    return named
