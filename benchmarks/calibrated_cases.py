"""What ``calibrated.py`` judges: denoisers with their conditions and calibrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import page
from torch import Tensor

from sde_diffusion.calibration import Settings, calibrate, trajectories
from sde_diffusion.calibration.calibrate import MODES
from sde_diffusion.calibration.law import normal_law
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.closed_form import EmpiricalDenoiser
from sde_diffusion.condition import Condition
from sde_diffusion.data import digits, to_float
from sde_diffusion.denoiser import Denoiser, FunctionDenoiser
from sde_diffusion.files import asset
from sde_diffusion.guidance import ClassifierFree
from sde_diffusion.model import Model, load
from sde_diffusion.solvers.calibration_file import Calibration

CALLS = (4, 5, 6, 8, 10)
SIGMA = 0.002, 80.0
# Of closed forms, to which noises are cheap.
EXACT = Settings(noises=768, held_out=192, budget=100, tries=60)
FOLDER = page.HERE.parent / "outputs" / "benchmark-calibrated"


@dataclass(frozen=True)
class Case:
    """A denoiser, its condition, its calibration and how many noises judge it."""

    name: str
    title: str
    denoiser: Denoiser
    condition: Callable[[Sequence[int]], Condition | None]
    calibration: Callable[[], Path]
    noises: int  # of each of the blocks
    picked: int  # on which the standard solvers are ranked
    features: bool = False  # FD[mnist-cnn] against real data too


def model_case(name: str, title: str, model: Model, scale: float | None, path: str, n: int,
               picked: int) -> Case:  # fmt: skip
    denoiser: Denoiser = model.denoiser
    if scale is not None:
        denoiser = ClassifierFree(denoiser, scale)
    return Case(name, title, denoiser, lambda seeds: model.condition("all", seeds),
                lambda: asset(path), n, picked, features=True)  # fmt: skip


def own_case(
    name: str, title: str, denoiser: Denoiser, model: Model | None = None,
    twin: Denoiser | None = None, settings: Settings = EXACT,
) -> Case:  # fmt: skip
    """Calibrated here, in FOLDER; on ``twin`` if one is given."""

    def condition(seeds: Sequence[int]) -> Condition | None:
        return None if model is None else model.condition("all", seeds)

    def made() -> Path:
        path = FOLDER / f"{name}-calibration.safetensors"
        if not path.is_file():
            calibrated_here(twin or denoiser, condition, path, settings)
        return path

    return Case(name, title, denoiser, condition, made, 600, 200)


def calibrated_here(
    denoiser: Denoiser, condition: Callable[[Sequence[int]], Condition | None], path: Path,
    settings: Settings,
) -> None:  # fmt: skip
    """The command's own steps, for a denoiser that is no checkpoint."""
    seeds = range(10**6, 10**6 + settings.noises + settings.held_out)
    known = trajectories(denoiser, seeds, condition(seeds), 64, *SIGMA, settings.batch_size)
    normal = normal_law(denoiser, known, MODES, settings.batch_size)
    rules = {n: calibrate(denoiser, known, n, settings, normal, SIGMA[0]).rule for n in CALLS}
    conditional = condition(seeds) is not None
    Calibration(denoiser.identity, conditional, denoiser.shape, SIGMA[1], normal, rules).save(path)


def as_images(inner: Denoiser) -> FunctionDenoiser:
    """A denoiser of vectors as one of 8 x 8 images."""

    def denoise(y: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.flatten() if sigma.ndim else sigma
        return inner(y.flatten(1), level).reshape(y.shape)

    return FunctionDenoiser(denoise, (1, 8, 8), *SIGMA)


def mixture_of_digits() -> Denoiser:
    """Ten components, whatever the labels."""
    return mixture_twin(replace(digits(), labels=None), 10, *SIGMA)


def empirical_digits() -> FunctionDenoiser:
    points = to_float(digits().images).flatten(1).double()
    return as_images(EmpiricalDenoiser(points, 0.1))


def second() -> Model:
    """What ``sde-diffusion train experiment=digits hydra.run.dir=outputs/digits`` makes."""
    return load("outputs/digits/model.safetensors")


def cases() -> dict[str, Callable[[], Case]]:
    return {
        "mnist": lambda: model_case(
            "mnist", "Shipped MNIST model, a label a sample", load("mnist"), None,
            "mnist-calibrated", 600, 60),
        "mnist-cfg": lambda: model_case(
            "mnist-cfg", "Shipped MNIST model under classifier-free guidance, scale 2",
            load("mnist"), 2.0, "mnist-cfg2-calibrated", 600, 30),
        "digits": lambda: own_case(
            "digits", "A second model: 8 x 8 digits, a label a sample",
            second().denoiser, second(), settings=Settings()),
        "twin": lambda: own_case(
            "twin", "The same model by a twin, four Gaussians a class: no network evaluation",
            second().denoiser, second(), mixture_twin(digits(), 4, *SIGMA)),
        "mixture": lambda: own_case(
            "mixture", "Exact: a mixture of ten Gaussians fitted to the digits",
            mixture_of_digits()),
        "empirical": lambda: own_case(
            "empirical", "Exact: the empirical denoiser of the digits, bandwidth 0.1",
            empirical_digits()),
    }  # fmt: skip
