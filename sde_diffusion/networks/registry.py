"""Score networks: what one is, and the registry from whose names a checkpoint builds it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component
from sde_diffusion.system.names import name_of

ENTRY_POINT = "sde_diffusion.networks"
_REGISTRY: dict[str, Callable[..., nn.Module]] = {}
T = TypeVar("T", bound=Callable[..., nn.Module])


class Network(nn.Module, Component, ABC, known_as="network"):
    """F(x, c_noise, cond): what a config may name under ``network``.

    Its arguments are JSON values, and its constructor also runs under ``torch.device("meta")``,
    which is how a checkpoint is checked before memory is spent on it. ``channels``, ``classes`` and
    ``augment``, where it has them, come from the data.
    """

    @property
    def convolutional(self) -> int:
        """Of what the sides of a picture are multiples, where the network is the same function at
        every place of a picture of any size; 0 where attention or positions tell places apart."""
        return 0

    def encode(self, cond: Condition) -> Condition:
        """The condition with what can be computed of it once for all calls; here, itself."""
        return cond

    @abstractmethod
    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, *shape], c_noise [N], the conditions of the N rows -> [N, *shape]."""


def register(name: str) -> Callable[[T], T]:
    """Class decorator: make a network known under ``name`` (unique), which checkpoints store."""

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


def registered(cls: type[Network]) -> str:
    """The name that checkpoints store for a class; InputError if it is registered under none."""
    package = cls.__module__.split(".")[0]
    for point in entry_points(group=ENTRY_POINT):
        if point.module.split(".")[0] == package:
            find(point.name)
    for name, network in _REGISTRY.items():
        if network is cls:
            return name
    raise InputError(
        f"network={name_of(cls)}: has no name that a checkpoint could store; its package declares "
        f"one by the entry point {ENTRY_POINT}"
    )


def build(name: str, args: dict[str, Any]) -> nn.Module:
    """The network ``name`` with constructor arguments ``args``; InputError if they do not fit."""
    network = find(name)
    try:
        return network(**args)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"network={name}: wrong arguments ({reason})") from error
