"""The components of a composed config: guidance, and a sampler of all its groups."""

from __future__ import annotations

import copy
from typing import Any

from omegaconf import DictConfig, open_dict

from sde_diffusion.config import groups
from sde_diffusion.config.compose import build, plain
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import Guidance
from sde_diffusion.guidance import guided as guided_by
from sde_diffusion.models.sources import denoiser_of
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import NoiseSource
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.sampler import Sampler
from sde_diffusion.solvers.base import Solver

OPERATOR = "operator"


def guidance_of(config: Any) -> dict[str, Guidance]:
    """The guidance of a composed config by name, in the order listed."""
    nodes = (config.get("guidance") or {}).items()
    listed = {str(name): build(node, f"guidance.{name}", Guidance) for name, node in nodes}
    return {name: guide.opened(denoiser_of) for name, guide in listed.items()}


def guided(config: Any, denoiser: Denoiser) -> Denoiser:
    """The denoiser under the guidance of a composed config, the first one innermost."""
    return guided_by(denoiser, list(guidance_of(config).values()))


def with_operator(config: DictConfig) -> DictConfig:
    """The config whose solver and guidance measure by its ``operator``.

    InputError where none of them does, or where one was given an operator of its own.
    """
    changed = copy.deepcopy(config)
    parts = {"solver": changed.solver}
    parts |= {f"guidance.{name}": node for name, node in (changed.get("guidance") or {}).items()}
    reading = {key: node for key, node in parts.items() if OPERATOR in node}
    if not reading:
        raise InputError(
            "method: neither the solver nor the guidance reads a measurement; choose "
            f"method={'|'.join(groups.names('method'))}"
        )
    for key, node in reading.items():
        group, _, name = key.partition(".")
        name = name or str(groups.named(group, build(node, key)))
        if plain(node[OPERATOR]) != groups.node(group, name).get(OPERATOR):
            raise InputError(f"{key}.operator: edit takes it from operator=; give it there")
        with open_dict(node):
            node[OPERATOR] = changed.operator
    return changed


def grid_of(config: Any, brought: TimeGrid | None = None) -> TimeGrid | None:
    """The grid of a composed config: the one that a model brings, where the config has no other
    than the usual one of its solver."""
    node = config.get("grid")
    if node is None:
        return brought
    grid: TimeGrid = build(node, "grid", TimeGrid)
    solver = groups.named("solver", build(config.solver, "solver", Solver))
    usual = None if solver is None else groups.brings("solver", solver).get("grid")
    untouched = usual is not None and grid.fields() == groups.resolve("grid", usual).fields()
    if brought is not None and untouched and groups.named("grid", grid) == usual:
        return brought
    return grid


def sampler_of(config: Any, denoiser: Denoiser, brought: TimeGrid | None = None) -> Sampler:
    """The sampler of a composed config: groups sde, solver, grid, noise, guidance; ``brought`` is
    the grid of the model's files."""
    return Sampler.build(
        build(config.sde, "sde", SDE),
        guided(config, denoiser),
        build(config.solver, "solver", Solver),
        grid_of(config, brought),
        build(config.noise, "noise", NoiseSource),
        bool(config.denoise_last),
        brought,
    )
