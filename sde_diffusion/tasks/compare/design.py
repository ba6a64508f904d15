"""What all cells of a comparison share, and what is compared: samplers with their evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config import groups
from sde_diffusion.config.choices import Choice, entries
from sde_diffusion.data.prompts import in_turn, of_file, prompt_lines
from sde_diffusion.errors import BudgetError, InputError
from sde_diffusion.guidance import Guidance, guided
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import NoiseSource
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.sampler import Sampler
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.identity import COMPONENT, identity
from sde_diffusion.system.names import name_of
from sde_diffusion.system.notice import later
from sde_diffusion.system.ranges import Batch, Seed, Within, check_dataclass
from sde_diffusion.system.spelling import did_you_mean

USUAL = ("ddim", "heun", "dpmpp_2m", "unipc", "ancestral")
# Numbers of evaluations of every solver, or of each by its label.
Budgets = Sequence[int] | Mapping[str, Sequence[int]]


@dataclass
class Design:
    """What all cells share.

    Attributes:
        samples: numbers of images that a distance is taken of. repeats: blocks of seeds.
        seed: of the first image. label: of all cells, as a user says it.
        batch_size, dtype, device: how they are sampled; names of torch's.
        denoise_last: one more denoising at the end. animation: keep how the first images form.
        prompts: a file of sentences for the images of a block, in turn, one a line; or None.
        clip_score: the folder of a CLIP model that judges whether images fit these; or None.
    """

    samples: Annotated[list[int], Within("2 <= samples <= 10000000")]
    repeats: Annotated[int, Within("1 <= repeats <= 1000000")]
    seed: Seed
    label: Any
    batch_size: Batch
    denoise_last: bool
    dtype: str
    device: str
    animation: bool
    prompts: str | None
    clip_score: str | None

    def __post_init__(self) -> None:
        check_dataclass(self)
        if self.clip_score is not None and self.prompts is None:
            raise InputError(
                f"clip_score={self.clip_score}: judges images by their sentences; give prompts=FILE"
            )
        if not self.samples:
            raise InputError("samples=[]: give at least one number of images, [500] say")

    @property
    def sentences(self) -> tuple[str, ...]:
        """Of the file ``prompts``."""
        return () if self.prompts is None else tuple(prompt_lines(self.prompts))

    @property
    def wishes(self) -> dict[str, Any]:
        """What is asked of the model for the images of one block."""
        prompts = self.said
        return {"label": self.label, "prompt": prompts} if prompts else {"label": self.label}

    @property
    def said(self) -> list[str]:
        """The sentence of each image of a block; [] without a file."""
        lines = self.sentences
        return in_turn(self.prompts, lines, self.most) if lines else []

    def condition(
        self, model: OpenedModel, seeds: Sequence[int], classes: int = 0
    ) -> Condition | None:
        """What a model is asked for the images of a block, ``classes`` being those of guidance."""
        if self.prompts is not None:
            model.check_takes("prompt", self.prompts, "prompts")
        with of_file(self.prompts):
            return model.condition(self.wishes, seeds, classes)

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


@dataclass(frozen=True)
class Setting:
    """The components that all samplers of a comparison share.

    Attributes:
        sde, noise: of all. guidance: by name, the first one innermost.
        grid: of all, in place of that of each entry, of the model, or of the solver's yaml.
    """

    sde: SDE
    noise: NoiseSource
    guidance: Mapping[str, Guidance]
    grid: TimeGrid | None = None

    def sampler(self, choice: Choice, model: OpenedModel, denoise_last: bool) -> Sampler:
        """The sampler of one entry; InputError if its components cannot work together."""
        grid = self.grid
        if grid is not None and choice.grid is not None:
            raise InputError(
                f"grid: {choice.label} has its own, {shown(choice.grid)}; leave one of the two out"
            )
        if grid is None and choice.grid is None:
            grid = model.grid
        if grid is None and (default := choice.default_grid()) is not None:
            grid = groups.resolve("grid", default)
        return Sampler.build(
            self.sde,
            guided(model.denoiser, list(self.guidance.values())),
            choice.component(),
            grid,
            self.noise,
            denoise_last,
            model.grid,
        ).decoded_by(model.codec)

    def identities(self, sampler: Sampler) -> dict[str, Any]:
        """Of all components of one of its samplers."""
        content: dict[str, Any] = {
            name: getattr(sampler, name).identity() for name in ("solver", "grid", "sde", "noise")
        }
        if self.guidance:
            nodes = {name: {**g.identity(), **g.content} for name, g in self.guidance.items()}
            content |= identity({"guidance": nodes})
        if sampler.solver.grid is not None:  # walked whatever was asked for, and read from a file
            name = name_of(type(sampler.grid))
            content["grid"] = {COMPONENT: name, "content": sampler.solver.content}
        return content


@dataclass(frozen=True)
class Entry:
    """A labelled sampler of a model, the identity of its components, and its evaluations."""

    label: str
    sampler: Sampler
    identities: Mapping[str, Any]
    model: OpenedModel
    nfe: tuple[int, ...]


def entered(
    setting: Setting,
    design: Design,
    models: Mapping[str, OpenedModel],
    solvers: Sequence[Any] | None,
    nfe: Budgets,
) -> list[Entry]:
    """What is compared: ``solvers``, as ``entries`` takes them, of each model.

    None are the usual ones. ``models`` by what is added to a solver's label for each, nothing where
    there is but one.
    """
    listed = []
    for mark, model in models.items():
        chosen = usual(setting, design, model, nfe) if solvers is None else solvers
        choices = list(entries(chosen, "solver"))
        _check_labels(nfe, [choice.label for choice in choices])
        for choice in choices:
            sampler = setting.sampler(choice, model, design.denoise_last)
            identities = setting.identities(sampler)
            budgets = () if sampler.solver.adaptive else tuple(dict.fromkeys(_own(choice, nfe)))
            if len(choices) > 1 and choice.nfe is None and not isinstance(nfe, Mapping):
                _check_shared(choice, sampler, budgets)
            listed.append(Entry(choice.label + mark, sampler, identities, model, budgets))
    return listed


def _check_shared(choice: Choice, sampler: Sampler, budgets: Sequence[int]) -> None:
    """InputError, with a way to leave the other entries theirs, for budgets that buy no steps."""
    for number in budgets:
        try:
            sampler.steps(number)
        except BudgetError as error:
            if choice.name is None:
                raise
            near = ",".join(map(str, error.near))
            alone = f"{{{choice.label}:{{solver:{choice.name},nfe:[{near}]}}}}"
            raise InputError(f"{error}, or, for it alone, {alone} in solvers") from None


def _own(choice: Choice, nfe: Budgets) -> Sequence[int]:
    """The evaluations of one entry."""
    if not isinstance(nfe, Mapping):
        return nfe if choice.nfe is None else choice.nfe
    if choice.label in nfe and choice.nfe is not None:
        raise InputError(f"nfe: {choice.label} has its own, {list(choice.nfe)}; leave one out")
    budgets = nfe.get(choice.label, choice.nfe)
    if budgets is None:
        raise InputError(f"nfe: none for {choice.label}; give {{{choice.label}: [4,6]}}, say")
    return budgets


def _check_labels(nfe: Budgets, labels: Sequence[str]) -> None:
    for label in nfe if isinstance(nfe, Mapping) else ():
        if label not in labels:
            near = did_you_mean(str(label), labels)
            raise InputError(
                f"nfe: {shown(label)} is no solver here; {near}they are {', '.join(labels)}"
            )


def usual(setting: Setting, design: Design, model: OpenedModel, nfe: Budgets) -> list[str]:
    """The solvers of a comparison that names none."""
    if model.denoiser.ends:
        return [model.denoiser.ends]
    calibrated = Choice("calibrated", "solver", "calibrated")
    try:
        shipped = setting.sampler(calibrated, model, design.denoise_last)
        shipped.solver.check_condition(design.condition(model, design.seeds(0)))
        for number in _own(calibrated, nfe):
            shipped.steps(number)
    except InputError:  # made for another model, guidance, condition or number of evaluations
        return _affordable(setting, design, model, nfe)
    return [*USUAL, "calibrated"]


def _affordable(setting: Setting, design: Design, model: OpenedModel, nfe: Budgets) -> list[str]:
    """The usual ones; on the grid of a model's files, those that each budget buys whole steps of,
    and a line names the others."""
    if setting.grid is not None or model.grid is None:
        return list(USUAL)
    affordable, refusal = [], None
    for name in USUAL:
        choice = Choice(name, "solver", name)
        sampler = setting.sampler(choice, model, design.denoise_last)
        try:
            for number in _own(choice, nfe):
                sampler.steps(number)
            affordable.append(name)
        except BudgetError as error:
            refusal = error
            later(f"solvers: {name} is left out on the model's own grid: {error}")
    if refusal is not None and not affordable:
        raise refusal
    return affordable
