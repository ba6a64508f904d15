"""What ``calibrated.py`` judges: denoisers with their conditions and calibrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import page

from sde_diffusion.calibration import Settings, calibrate, trajectories
from sde_diffusion.calibration.calibrate import MODES
from sde_diffusion.calibration.normal_law import normal_law
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import build, compose_task
from sde_diffusion.data import DataSource, Digits, to_float
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import EmpiricalDenoiser
from sde_diffusion.face.load import load
from sde_diffusion.face.model import Model
from sde_diffusion.guidance import ClassifierFree, Guided
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.system.storage import asset

CALLS = (4, 5, 6, 8, 10)
SIGMA = 0.002, 80.0
# Of closed forms, to which noises are cheap.
EXACT = Settings(noises=768, held_out=192, budget=100, tries=60)
TWIN = "a twin, four Gaussians a class: no network evaluation"
FOLDER = page.HERE.parent / "outputs" / "benchmark-calibrated"


@dataclass(frozen=True)
class Case:
    """A denoiser, its condition, its calibration and how many noises judge it.

    ``draws`` names the folder of what is drawn from the denoiser: cases of the same share it.
    """

    name: str
    draws: str
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
        denoiser = Guided(denoiser, ClassifierFree(scale))
    return Case(name, name, title, denoiser, lambda seeds: model.condition({"label": "all"}, seeds),
                lambda: asset(path), n, picked, features=True)  # fmt: skip


def own_case(
    name: str, title: str, denoiser: Denoiser, model: Model | None = None,
    settings: Settings = EXACT,
) -> Case:  # fmt: skip
    """Calibrated here, in FOLDER."""

    def condition(seeds: Sequence[int]) -> Condition | None:
        return None if model is None else model.condition({"label": "all"}, seeds)

    calibration = calibrated_here(name, lambda: denoiser, condition, settings)
    return Case(name, name, title, denoiser, condition, calibration, 600, 200)


def twin_case(
    name: str, title: str, case: Case, data: Callable[[], ImageSet], settings: Settings
) -> Case:
    """``case`` by a calibration on a twin of four Gaussians a class, made here."""

    calibration = calibrated_here(
        name, lambda: mixture_twin(data(), 4, *SIGMA), case.condition, settings
    )
    return replace(case, name=name, title=title, calibration=calibration, features=False)


def calibrated_here(
    name: str, made_of: Callable[[], Denoiser],
    condition: Callable[[Sequence[int]], Condition | None], settings: Settings,
) -> Callable[[], Path]:  # fmt: skip
    """The file in FOLDER, made when first asked for: the command's own steps."""

    def made() -> Path:
        path = FOLDER / f"{name}-calibration.safetensors"
        if path.is_file():
            return path
        denoiser = made_of()
        seeds = range(10**6, 10**6 + settings.noises + settings.held_out)
        cond = condition(seeds)
        known = trajectories(denoiser, seeds, cond, 64, *SIGMA, settings.batch_size)
        normal = normal_law(denoiser, known, MODES, settings.batch_size)
        rules = {n: calibrate(denoiser, known, n, settings, normal, SIGMA[0]).rule for n in CALLS}
        Calibration(
            denoiser.identity, cond is not None, denoiser.shape, SIGMA[1], normal, rules
        ).save(path)
        return path

    return made


def mixture_of_digits() -> Denoiser:
    """Ten components, whatever the labels."""
    return mixture_twin(replace(Digits().load(), labels=None), 10, *SIGMA)


def empirical_digits() -> EmpiricalDenoiser:
    return EmpiricalDenoiser(to_float(Digits().load().images).double(), 0.1)


def mnist_images() -> ImageSet:
    """The training images, as ``data=mnist`` finds them (MNIST_ROOT)."""
    config = compose_task(["task=calibrate", "data=mnist"])
    source: DataSource = build(config.data, "data", DataSource)
    return source.load()


def shipped() -> Case:
    return model_case("mnist", "Shipped MNIST model, a label a sample", load("mnist-large"), None,
                      "mnist-large-calibrated", 600, 60)  # fmt: skip


def second_case() -> Case:
    """What ``sde-diffusion train experiment=digits hydra.run.dir=outputs/digits`` makes."""
    model = load("outputs/digits/model.safetensors")
    return own_case("digits", "A second model: 8 x 8 digits, a label a sample", model.denoiser,
                    model, Settings())  # fmt: skip


def cases() -> dict[str, Callable[[], Case]]:
    return {
        "mnist": shipped,
        "mnist-cfg": lambda: model_case(
            "mnist-cfg", "Shipped MNIST model under classifier-free guidance, scale 2",
            load("mnist-large"), 2.0, "mnist-large-cfg2-calibrated", 600, 30),
        "mnist-twin": lambda: twin_case(
            "mnist-twin", f"Shipped MNIST model by {TWIN}", shipped(), mnist_images, Settings()),
        "digits": second_case,
        "digits-twin": lambda: twin_case(
            "digits-twin", f"The same model by {TWIN}", second_case(), Digits().load, EXACT),
        "mixture": lambda: own_case(
            "mixture", "Exact: a mixture of ten Gaussians fitted to the digits",
            mixture_of_digits()),
        "empirical": lambda: own_case(
            "empirical", "Exact: the empirical denoiser of the digits, bandwidth 0.1",
            empirical_digits()),
    }  # fmt: skip
