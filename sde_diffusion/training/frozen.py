"""Weights that a training leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sde_diffusion.errors import InputError
from sde_diffusion.system.spelling import none_of

MOST = 20  # names that a line can hold


def freeze(network: nn.Module, frozen: Sequence[str]) -> None:
    """No gradient for the weights whose names are, or lie below, one of ``frozen``.

    InputError for a name that no weight has, and where none is left to learn.
    """
    weights = dict(network.named_parameters())
    parts = {name[:end] for name in weights for end in _ends(name)}
    for each in frozen:
        if each not in parts:
            beside = {part.split(".")[0] for part in parts}
            near = {part for part in parts if part.count(".") == each.count(".")}
            raise none_of("frozen", each, sorted(near if len(near) <= MOST else beside))
    for name, weight in weights.items():
        if any(f"{name}.".startswith(f"{each}.") for each in frozen):
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise InputError(f"frozen={list(frozen)}: leaves no weight to learn; name fewer")


def _ends(name: str) -> list[int]:
    """Where the parts of a dotted name end."""
    return [i for i, letter in enumerate(f"{name}.") if letter == "."]
