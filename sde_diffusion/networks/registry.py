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
    """Class decorator: make a network known under ``name`` (unique).

    Its arguments are JSON values, and its constructor also runs under ``torch.device("meta")``,
    which is how a checkpoint is checked before memory is spent on it.
    """

    def add(cls: T) -> T:
        if _REGISTRY.setdefault(name, cls) is not cls:
            raise ValueError(f"network {name!r} is registered twice")
        return cls

    return add


def names() -> list[str]:
    """All registered names, those of installed packages included."""
    return sorted({*_REGISTRY, *(point.name for point in entry_points(group=ENTRY_POINT))})


def find(name: str) -> Callable[..., nn.Module]:
    """The network class ``name``, imported from its package if need be; InputError if unknown."""
    if name not in _REGISTRY:
        for point in entry_points(group=ENTRY_POINT, name=name):
            try:
                _REGISTRY[name] = point.load()
            except (ImportError, AttributeError) as error:
                raise InputError(
                    f"network={name}: its package does not load ({error}); reinstall it"
                ) from error
    if name not in _REGISTRY:
        raise InputError(f"network={name}: not a registered network; choose one of {names()}")
    return _REGISTRY[name]


def build(name: str, args: dict[str, Any]) -> nn.Module:
    """The network ``name`` with constructor arguments ``args``; InputError if they do not fit."""
    network = find(name)
    try:
        return network(**args)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"network={name}: wrong network.args ({reason})") from error
