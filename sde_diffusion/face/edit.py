"""What is missing of a picture, or was done to it, drawn several times: the library's ``edit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from sde_diffusion.config import groups, samplers
from sde_diffusion.config.choices import INPAINTING
from sde_diffusion.config.options import Options
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.given_picture import mask_of, picture_of
from sde_diffusion.face.guides import guides_of
from sde_diffusion.face.keywords import keywords
from sde_diffusion.operators import Function, Mask, Operator
from sde_diffusion.sampling.damaged import Damaged
from sde_diffusion.sampling.edit import Edited, Editor
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.identity import Component

if TYPE_CHECKING:
    from sde_diffusion.face.model import Model

GROUPS = ("operator", "solver", "sde", "grid", "guidance", "noise")
HOW = ("solver", "grid", "guidance")
DRAWS = 4
OPERATOR = "operator"


@dataclass(frozen=True)
class Method:
    """Solver and guidance that read a measurement, as they were given.

    Attributes:
        solver, guidance: components, whose operator may still be another one.
    """

    solver: Component
    guidance: list[Component]

    @classmethod
    def of(
        cls, name: str | None, solver: Any, guidance: Any, fields: Options, otherwise: str
    ) -> Method:
        """By the name of a method, ``otherwise`` where nothing is given; parts that are given
        replace its own."""
        if name is None and solver is None and guidance is None:
            name = otherwise
        if not isinstance(name, str | None):
            raise InputError(f"method={shown(repr(name))}: give one of {_methods()}")
        brings: Mapping[str, Any] = {} if name is None else groups.brings("method", name)
        solver = brings.get("solver", "heun") if solver is None else solver
        guidance = brings.get("guidance", ()) if guidance is None else guidance
        method = cls(fields.one("solver", solver), [*guides_of(fields, guidance)])
        if not method.reading:
            raise InputError(
                "method: neither the solver nor the guidance reads a measurement; give one of "
                f"{_methods()}"
            )
        return method

    @property
    def reading(self) -> list[Component]:
        """Those that read the measurement."""
        return [part for part in (self.solver, *self.guidance) if OPERATOR in part.fields()]

    def by(self, operator: Operator) -> Method:
        """The same for an operator."""
        solver, *guidance = (
            part.changed(operator=operator) if OPERATOR in part.fields() else part
            for part in (self.solver, *self.guidance)
        )
        return Method(solver, guidance)


def _methods() -> str:
    return ", ".join(groups.names("method"))


@keywords(*GROUPS)
def edit(
    model: Model,
    image: Any,
    mask: Any = None,
    operator: Any = None,
    method: str | None = None,
    *,
    n: int | None = None,
    nfe: int | None = None,
    solver: Any = None,
    sampler: str | None = None,
    guidance: Any = None,
    sde: Any = "edm",
    grid: Any = None,
    noise: Any = "seeds",
    denoise_last: bool = False,
    extend: Any = (),
    simulate: bool = False,
    strength: float = 1.0,
    seeds: Sequence[int] | None = None,
    seed: int | None = None,
    label: Any = None,
    prompt: Any = None,
    negative: Any = None,
    batch_size: int = 128,
    dtype: torch.dtype | str = torch.float32,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Edited:
    """As ``Model.edit`` says."""
    preset = samplers.chosen(solver, grid, sampler)
    solver, grid = preset.solver, preset.grid
    fields = Options.of(options, GROUPS).beside(preset)
    carried = given_operator(solver, guidance) if operator is None else None
    measuring = operator_of(operator or carried or Mask(), fields)
    tuned = nfe is not None or grid is not None or bool({*HOW} & {*fields.fields})
    parts = Method.of(method, solver, guidance, fields, usual(measuring, tuned)).by(measuring)
    rest = {
        f"{group}__{k}": v
        for group in ("sde", "grid", "noise")
        for k, v in fields.fields.get(group, {}).items()
    }

    def assemble(inner: Denoiser) -> Sampler:
        return replace(model, denoiser=inner).sampler(
            parts.solver,
            sde,
            usual_grid(model, parts.solver, grid),
            parts.guidance,
            noise,
            denoise_last=denoise_last,
            **rest,
        )

    editor = Editor(model.denoiser, measuring, assemble)
    if negative is not None and not assemble(model.denoiser).asks_empty:
        raise InputError(
            f"negative={negative}: nothing leads away from it; give a method that is a solver, and "
            'cfg, method="ddrm", guidance="cfg", say'
        )
    truth = 0 if values.truth("simulate", simulate) else None
    x, white = picture_of(editor, image, truth is not None)
    anew = mask_of(mask)
    damaged = Damaged.of(measuring, x, model.denoiser.space, anew, extend, truth)
    chosen = values.chosen_seeds(n, seeds, seed, DRAWS)
    where = usable_device(str(device))
    model.denoiser.to(where)
    wishes = {"label": label, "prompt": prompt, "negative": negative}
    budget = None if nfe is None else values.whole("nfe", nfe, 1)
    request = Request(chosen, budget, model.condition(wishes, chosen)).distinct()
    run = Execution(values.whole("batch_size", batch_size, 1), values.state_dtype(dtype), where)
    return editor.edit(damaged, request, values.number("strength", strength), run, white)


def usual(operator: Operator, tuned: bool) -> str:
    """The method where none is given; ``tuned``: whether something else says how, nfe at least."""
    exact = isinstance(operator, Mask) and operator.noise == 0
    return INPAINTING if exact and not tuned else "ddrm"


def usual_grid(model: Model, solver: Component, grid: Any) -> Any:
    """The grid that was given, or that of the model or of the solver's yaml."""
    if grid is not None or model.grid is not None:
        return grid
    return groups.brings("solver", groups.choice_of("solver", solver)).get("grid")


def given_operator(solver: Any, guidance: Any) -> Operator | None:
    """That of the objects that were given, the first; None where there is none."""
    several = guidance if isinstance(guidance, Sequence) and not isinstance(guidance, str) else []
    for part in (solver, guidance, *several):
        if isinstance(part, Component) and OPERATOR in part.fields():
            held: Operator = part.fields()[OPERATOR]
            return held
    return None


def operator_of(operator: Any, fields: Options) -> Operator:
    """An operator of an object, a name, or a function."""
    if callable(operator) and not isinstance(operator, Component | type):
        return Function(operator)
    built: Operator = fields.one(OPERATOR, operator)
    return built
