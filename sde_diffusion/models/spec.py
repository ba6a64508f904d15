"""What a checkpoint says of its model: names and JSON arguments, from which it is rebuilt."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from sde_diffusion import networks
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.labels import Labels
from sde_diffusion.conditions.several import Several
from sde_diffusion.config import groups
from sde_diffusion.denoisers import consistency as consistency  # registered under their names
from sde_diffusion.denoisers import convention as convention
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS
from sde_diffusion.denoisers.space import Kind, Space
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.system.sealed import Facts

# A small file cannot ask for much: values of one image, and counts.
MAX_VALUES = 64 * 2**20
MAX_COUNT = 2**53
# Grids that a model may bring.
GRIDS = {"timesteps", "flow_shift", "few_steps", "skipped", "karras_to_zero", "exponential"}


@dataclass(frozen=True)
class Spec:
    """Everything needed to rebuild a model from its weights; plain JSON values only.

    Attributes:
        network, parameterization: registered names; their arguments beside them.
        shape, kind, multiple: of the space, see ``Space``; kind "" is told by the shape.
        sigma_min, sigma_max: noise levels that it was trained on.
        classes, class_names: of the labels that it knows.
        data, step, config: where the weights come from; ``config["grid"]`` is the grid that the
            files of somebody else's model name.
        conditions: what else it may be conditioned on, ``text``, ``layout``, ``reference``, each
            with its ``shape`` and what its numbers mean.
    """

    network: str
    network_args: dict[str, Any]
    parameterization: str
    parameterization_args: dict[str, Any]
    shape: tuple[int | None, ...]
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    classes: int = 0
    data: str = ""
    step: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    kind: str = ""
    multiple: int = 1
    conditions: dict[str, Any] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        """Where the states live; ``shape`` is None in the sides that the model leaves free."""
        if not self.kind:
            return Space.of([side for side in self.shape if side is not None])
        return Space(Kind(self.kind), tuple(self.shape), self.multiple)

    @property
    def conditioner(self) -> Conditioner:
        """What makes conditions for the network."""
        return Several.of(Labels(self.classes, self.class_names), self.conditions)

    @property
    def grid(self) -> TimeGrid | None:
        """The grid that the model brings, if it does; InputError for one that is none."""
        named = self.config.get("grid")
        if named is None:
            return None
        if not isinstance(named, dict) or not set(named) <= GRIDS:
            raise InputError(f"metadata entry 'config': its grid is none of {sorted(GRIDS)}")
        grid: TimeGrid = groups.resolve("grid", named)
        return grid

    def build(self) -> NetworkDenoiser:
        """A denoiser with fresh weights; InputError for a name outside the registries."""
        if self.parameterization not in PARAMETERIZATIONS:
            raise InputError(
                f"parameterization={self.parameterization}: choose one of "
                f"{sorted(PARAMETERIZATIONS)}"
            )
        try:
            parameterization = PARAMETERIZATIONS[self.parameterization](
                **self.parameterization_args
            )
        except TypeError as error:
            raise InputError(f"parameterization={self.parameterization}: {error}") from error
        return NetworkDenoiser(
            networks.build(self.network, self.network_args),
            parameterization,
            self.space,
            self.sigma_min,
            self.sigma_max,
        )

    @classmethod
    def parse(cls, entries: Facts) -> Spec:
        """The spec in a file's facts; ValueError names the entry that is wrong."""
        entries = {"conditions": {}, **entries}  # files of before there were any
        wanted = {f.name for f in fields(cls)}
        if set(entries) != wanted:
            raise ValueError(f"metadata entries {sorted(wanted ^ set(entries))} missing or unknown")
        for name, kinds in _KINDS.items():
            if type(entries[name]) not in kinds:
                raise ValueError(f"metadata entry {name!r} is a {type(entries[name]).__name__}")
        shape, names, classes = (entries[name] for name in ("shape", "class_names", "classes"))
        sides = [side for side in shape if side is not None]
        if not sides or any(type(side) is not int or side < 1 for side in sides):
            raise ValueError(f"metadata entry 'shape' is {shape}")
        if math.prod(sides) > MAX_VALUES:
            raise ValueError(f"metadata entry 'shape' asks for more than {MAX_VALUES} values")
        if entries["kind"] not in ("", *(kind.value for kind in Kind)):
            raise ValueError(f"metadata entry 'kind' is {entries['kind']!r}")
        if len(sides) < len(shape) and not entries["kind"]:
            raise ValueError("metadata entry 'shape' leaves a side open, and 'kind' says nothing")
        if not 0 <= entries["sigma_min"] < entries["sigma_max"] <= math.inf:
            raise ValueError("metadata entries 'sigma_min' and 'sigma_max' are no range")
        for name, least in (("classes", 0), ("step", 0), ("multiple", 1)):
            if not least <= entries[name] <= MAX_COUNT:
                raise ValueError(f"metadata entry {name!r} is not from {least} to {MAX_COUNT}")
        if names and (len(names) != classes or any(type(name) is not str for name in names)):
            raise ValueError(f"metadata entry 'class_names' is not of {classes} names")
        # What every network of this package is told too.
        args = entries["network_args"]
        if args.get("channels", shape[0]) != shape[0] or args.get("classes", classes) < classes:
            raise ValueError("metadata entry 'network_args' is of other channels or fewer classes")
        return cls(**{**entries, "shape": tuple(shape), "class_names": tuple(names)})


# JSON types of each metadata entry.
_KINDS: dict[str, tuple[type, ...]] = {
    "network": (str,),
    "network_args": (dict,),
    "parameterization": (str,),
    "parameterization_args": (dict,),
    "shape": (list,),
    "sigma_min": (int, float),
    "sigma_max": (int, float),
    "classes": (int,),
    "data": (str,),
    "step": (int,),
    "config": (dict,),
    "class_names": (list,),
    "kind": (str,),
    "multiple": (int,),
    "conditions": (dict,),
}
