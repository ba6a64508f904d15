"""The score-network registry: a name and JSON arguments build a network."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from torch import nn

from sde_diffusion.errors import InputError

ENTRY_POINT = "sde_diffusion.networks"
_REGISTRY: dict[str, Callable[..., nn.Module]] = {}
T = TypeVar("T", bound=Callable[..., nn.Module])


def register(name: str) -> Callable[[T], T]:
    """Class decorator: make a network known under ``name`` (unique)."""

    def add(cls: T) -> T:
        if _REGISTRY.setdefault(name, cls) is not cls:
            raise ValueError(f"network {name!r} is registered twice")
        return cls

    return add


def names() -> list[str]:
    """All registered names, those of installed packages included."""
    return sorted({*_REGISTRY, *(point.name for point in entry_points(group=ENTRY_POINT))})


def build(name: str, args: dict[str, Any]) -> nn.Module:
    """The network ``name`` with constructor arguments ``args``; InputError if it is unknown."""
    if name not in _REGISTRY:
        for point in entry_points(group=ENTRY_POINT, name=name):
            _REGISTRY[name] = point.load()
    if name not in _REGISTRY:
        raise InputError(f"network={name}: not a registered network; choose one of {names()}")
    try:
        return _REGISTRY[name](**args)
    except TypeError as error:
        raise InputError(f"network {name}: {error}") from error
