"""The library face: a trained model, or any callable, and one ``sample`` method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import build
from sde_diffusion.config.options import Options, default_grid
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import Guidance
from sde_diffusion.guidance import guided as guided_by
from sde_diffusion.images.pixels import to_float
from sde_diffusion.models.file import load_denoiser
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import NoiseSource
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.encode import ProbabilityFlow
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.solvers.base import Solver
from sde_diffusion.system.storage import asset, fingerprint

# Of the state; and of the network, whose bfloat16 is twice as fast where the processor has it.
DTYPES = {"float32": torch.float32, "float64": torch.float64}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Label = int | Literal["all"] | Sequence[int] | None


@dataclass(frozen=True)
class Model:
    """A denoiser with the names that its figures are recorded under.

    Attributes:
        denoiser: D(x, sigma, cond). classes: number of labels it knows, 0 if none.
        name, fingerprint: where it came from and the SHA-256 of its file.
    """

    denoiser: Denoiser
    name: str
    fingerprint: str = ""
    classes: int = 0

    def condition(self, label: Label, seeds: Sequence[int]) -> Condition | None:
        """One label for all, a list, ``all`` = seed mod classes, or None for no condition."""
        if label is None or (label == "all" and not self.classes):
            return None
        if label == "all":
            labels = [seed % self.classes for seed in seeds]
        elif isinstance(label, int):
            labels = [label] * len(seeds)
        else:
            labels = [int(v) for v in label]
        if not self.classes:
            raise InputError(f"label={label}: model {self.name} knows no labels; use label=null")
        if len(labels) != len(seeds) or not all(0 <= v < self.classes for v in labels):
            raise InputError(
                f"label={label}: give one label 0 .. {self.classes - 1}, a list of one for each "
                f"of the {len(seeds)} images, 'all', or null"
            )
        return Condition.label(labels)

    def sampler(
        self,
        solver: Any = "unipc",
        sde: Any = "edm",
        grid: Any = None,
        guidance: Any = (),
        noise: Any = "seeds",
        denoise_last: bool = False,
        **options: Any,
    ) -> Sampler:
        """A sampler of components: objects, or names of ``conf/``.

        Args:
            solver, sde, noise: one of each. grid: None is the one that goes with the solver.
            guidance: several, the first one innermost.
            denoise_last: one more denoising at the last noise level, counted.
            options: fields of what is given by name: ``solver__order=3``,
                ``guidance__cfg__scale=2``.
        """
        fields = Options.of(options, ("solver", "sde", "grid", "guidance", "noise"))
        chosen = default_grid(solver) if grid is None else grid
        return Sampler.build(
            fields.one("sde", sde),
            guided_by(self.denoiser, fields.several("guidance", guidance)),
            fields.one("solver", solver),
            None if chosen is None else fields.one("grid", chosen),
            fields.one("noise", noise),
            denoise_last,
        )

    def sample(
        self,
        n: int = 16,
        nfe: int | None = 10,
        seed: int = 0,
        label: Label = None,
        batch_size: int = 128,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        trajectory: bool = False,
        **options: Any,
    ) -> Samples:
        """n images of seeds seed .. seed + n - 1; ``options`` as for ``sampler``.

        ``dtype`` is the state's; the network keeps its own. Image k is the same in any batch.
        ``trajectory`` keeps the states and the denoiser's calls, for ``save_animation``.
        """
        seeds = list(range(seed, seed + n))
        cond = self.condition(label, seeds)
        self.denoiser.to(device)
        sampler = self.sampler(**options)
        return sampler.sample(
            Request(seeds, nfe, cond),
            Execution(batch_size, dtype, device),
            Watch(trajectory, n * trajectory),
        )

    def flow(
        self,
        error: float = 1e-3,
        guidance: Any = (),
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        **options: Any,
    ) -> ProbabilityFlow:
        """The map between images and latents, to a requested ``error``.

        Args:
            error: RMS error a pixel. guidance: as for ``sampler``.
            sigma_min, sigma_max: noise level taken for an image's, and of the latents.
            options: fields of guidance by name: ``guidance__cfg__scale=2``.
        """
        guides = Options.of(options, ("guidance",)).several("guidance", guidance)
        denoiser = guided_by(self.denoiser, guides)
        return ProbabilityFlow.build(denoiser, error, sigma_min, sigma_max)

    def encode(
        self,
        images: Tensor,
        label: Label = None,
        batch_size: int = 128,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> Tensor:
        """Images [N, *shape], uint8 or -1 .. 1 -> latents float64 [N, *shape], about N(0, I).

        ``options`` as for ``flow``. The state is float64, the network keeps its own dtype.
        """
        x = (images if images.is_floating_point() else to_float(images)).to(device, torch.float64)
        self.denoiser.to(device)
        cond = self.condition(label, range(len(x)))
        return self.flow(**options).encode(x, cond, batch_size).cpu()

    def decode(
        self,
        latents: Tensor,
        label: Label = None,
        batch_size: int = 128,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> Tensor:
        """Latents [N, *shape] -> images float64 [N, *shape], the inverse of ``encode``."""
        self.denoiser.to(device)
        cond = self.condition(label, range(len(latents)))
        z = latents.to(device, torch.float64)
        return self.flow(**options).decode(z, cond, batch_size).cpu()

    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        steps: int = 8,
        label: Label = None,
        batch_size: int = 128,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> Tensor:
        """Images between a and b [N, *shape], ends included: float64 [N, steps, *shape]."""
        ends = [x if x.is_floating_point() else to_float(x) for x in (a, b)]
        left, right = (x.to(device, torch.float64) for x in ends)
        self.denoiser.to(device)
        cond = self.condition(label, range(len(a)))
        return self.flow(**options).interpolate(left, right, steps, cond, batch_size).cpu()


def load(checkpoint: str | Path = "mnist", dtype: torch.dtype = torch.float32) -> Model:
    """The shipped model of that name, or a checkpoint file; ``dtype`` of the network's weights."""
    path = asset(str(checkpoint))
    if not path.is_file():
        raise InputError(f"checkpoint={checkpoint}: no such file; give a .safetensors or 'mnist'")
    spec, denoiser = load_denoiser(path, dtype)
    return Model(denoiser, str(checkpoint), fingerprint(path), spec.classes)


def wrap(
    model: Callable[[Tensor, Tensor], Tensor],
    shape: tuple[int, ...],
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
) -> Model:
    """Any callable ``model(x, sigma) -> denoised``, x [N, *shape], as a model to sample from."""
    return Model(FunctionDenoiser(model, shape, sigma_min, sigma_max), "function")


def guided(config: Any, denoiser: Denoiser) -> Denoiser:
    """The denoiser under the guidance of a composed config, in the order listed."""
    nodes = (config.get("guidance") or {}).items()
    return guided_by(denoiser, [build(node, f"guidance.{name}", Guidance) for name, node in nodes])


def build_sampler(config: Any, denoiser: Denoiser) -> Sampler:
    """The sampler of a composed config: groups sde, solver, grid, noise, guidance."""
    denoiser = guided(config, denoiser)
    grid = config.get("grid")
    return Sampler.build(
        build(config.sde, "sde", SDE),
        denoiser,
        build(config.solver, "solver", Solver),
        None if grid is None else build(grid, "grid", TimeGrid),
        build(config.noise, "noise", NoiseSource),
        bool(config.denoise_last),
    )
