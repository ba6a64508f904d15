"""What a comparison will run: every cell, checked before the first one starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.config import groups
from sde_diffusion.config.choices import Choice, entries
from sde_diffusion.config.compose import build, plain
from sde_diffusion.denoisers.precision import recorded
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import VERSION, NoiseSource
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.sampler import Sampler
from sde_diffusion.system.identity import COMPONENT, digest, identity
from sde_diffusion.system.names import name_of
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.composed import guided

USUAL = ("ddim", "heun", "dpmpp_2m", "unipc", "ancestral")
PARTS = ("solver", "grid", "sde", "noise", "guidance")
Budget = tuple[str, int | None]


@dataclass
class CompareTask:
    """Keys of the task."""

    checkpoint: str
    ema_width: list[float] | None
    solvers: list[Any] | None
    nfe: list[int]
    samples: list[int]
    repeats: int
    seed: int
    label: Any
    batch_size: int
    denoise_last: bool
    dtype: str
    precision: str
    device: str
    reference: str | None
    animation: bool

    def __post_init__(self) -> None:
        if not self.samples or min(self.samples) < 2:
            raise InputError(f"samples={self.samples}: give numbers of samples >= 2")
        if self.solvers == [] or not self.nfe:
            empty = "solvers" if self.solvers == [] else "nfe"
            raise InputError(f"{empty}=[]: give at least one")
        if self.seed < 0:
            raise InputError(f"seed={self.seed}: give a number >= 0")
        if self.repeats < 1:
            raise InputError(f"repeats={self.repeats}: give a number of seed blocks >= 1")

    @property
    def most(self) -> int:
        """Images of one cell: the largest number of samples."""
        return max(self.samples)

    @property
    def counts(self) -> list[int]:
        """The numbers of samples, increasing, each once."""
        return sorted(set(self.samples))

    def seeds(self, block: int) -> range:
        """The seeds of a block; no two blocks share one."""
        first = self.seed + block * self.most
        return range(first, first + self.most)


@dataclass(frozen=True, eq=False)
class Plan:
    """One cell to run.

    Attributes:
        label, sampler, nfe, steps: a labelled sampler, and its budget (None for an adaptive one).
        model: the name of the model that it samples.
        block, seeds, cond: which block of seeds, and their condition.
        filmed: whether its first images are recorded.
        depends: everything that the features depend on, by content.
    """

    label: str
    sampler: Sampler
    nfe: int | None
    steps: int
    model: str
    block: int
    seeds: range
    cond: Condition | None
    filmed: bool
    depends: dict[str, Any]

    @property
    def budget(self) -> Budget:
        """What all its blocks share: a label, and the evaluations that it may spend."""
        return self.label, self.nfe

    @property
    def strata(self) -> Tensor | None:
        """The labels [N] of the samples, which were set and not drawn; None without labels."""
        return None if self.cond is None else self.cond.parts[LABEL].value

    @property
    def name(self) -> str:
        """The name of its file: what depends on anything else has another name."""
        kind = "adaptive" if self.nfe is None else str(self.nfe)
        return f"{self.label}-{kind}-{digest(self.depends)}.safetensors"

    @property
    def weight(self) -> int:
        """Evaluations a sample, for the progress bar; a guess for an adaptive solver."""
        return self.nfe or 100


def plans(
    config: DictConfig, task: CompareTask, models: Mapping[str, OpenedModel], extractor: Extractor
) -> list[Plan]:
    """Every cell, block by block, so that a run that is cut short has whole comparisons.

    ``models`` by what is added to a solver's label for each, nothing where there is but one.
    """
    samplers: dict[str, tuple[Sampler, dict[str, Any], OpenedModel]] = {}
    for mark, model in models.items():
        chosen = usual(config, task, model) if task.solvers is None else task.solvers
        for choice in entries(chosen, "solver"):
            samplers[choice.label + mark] = (*_sampler(config, choice, model), model)
    cells = []
    for block in range(task.repeats):
        for label, (sampler, parts, model) in samplers.items():
            for nfe in [None] if sampler.solver.adaptive else list(dict.fromkeys(task.nfe)):
                seeds = task.seeds(block)
                filmed = task.animation and block == 0 and nfe == max(task.nfe)
                depends = {
                    "parts": parts, "nfe": nfe, "seeds": [seeds[0], task.most],
                    "label": task.label, "denoise_last": task.denoise_last, "dtype": task.dtype,
                    "precision": recorded(task.precision), "filmed": filmed,
                    "model": model.fingerprint, "extractor": extractor.fingerprint,
                    "device": task.device,
                    "batch_size": task.batch_size if sampler.solver.couples_batch else None,
                    NOISE: VERSION,
                }  # fmt: skip
                cond = model.condition({"label": task.label}, seeds)
                sampler.solver.check_condition(cond)
                cells.append(Plan(label, sampler, nfe, sampler.steps(nfe), model.name, block,
                                  seeds, cond, filmed, depends))  # fmt: skip
    return cells


def usual(config: DictConfig, task: CompareTask, model: OpenedModel) -> list[str]:
    """The solvers of a comparison that names none."""
    try:
        shipped, _ = _sampler(config, Choice("calibrated", "solver", "calibrated"), model)
        shipped.solver.check_condition(model.condition({"label": task.label}, task.seeds(0)))
        for nfe in task.nfe:
            shipped.steps(nfe)
    except InputError:  # made for another model, guidance, condition or number of evaluations
        return list(USUAL)
    return [*USUAL, "calibrated"]


def _sampler(
    config: DictConfig, choice: Choice, model: OpenedModel
) -> tuple[Sampler, dict[str, Any]]:
    """The sampler of one entry, and the identity of all its parts."""
    asked = config.get("grid")  # one for all, in place of each solver's own
    default = choice.default_grid() if asked is None else None
    grid = groups.make("grid", default) if default else None
    sampler = Sampler.build(
        build(config.sde, "sde", SDE),
        guided(config, model.denoiser),
        choice.component(),
        grid if asked is None else build(asked, "grid", TimeGrid),
        build(config.noise, "noise", NoiseSource),
        bool(config.denoise_last),
    ).decoded_by(model.codec)
    parts: dict[str, Any] = {
        "solver": sampler.solver.identity(), "grid": sampler.grid.identity(),
        "sde": sampler.sde.identity(), "noise": sampler.noise.identity(),
    }  # fmt: skip
    if config.get("guidance"):
        parts |= identity({"guidance": plain(config.guidance)})
    if sampler.solver.grid is not None:  # walked whatever was asked for, and read from a file
        parts["grid"] = {COMPONENT: name_of(type(sampler.grid)), "content": sampler.solver.content}
    return sampler, parts
