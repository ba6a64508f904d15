"""Few-step rules fitted to a model, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sde_diffusion.calibration import Settings
from sde_diffusion.calibration.calibrate import MODES
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.options import Options
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.guides import guides_of
from sde_diffusion.face.keywords import keywords
from sde_diffusion.face.pictures import image_set
from sde_diffusion.face.workplace import unknown_content, workplace
from sde_diffusion.guidance import Guidance, guided
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.solvers.calibrated.solver import Calibrated
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.identity import identity
from sde_diffusion.tasks.calibrate.fitting import Fitting, calls_of, ends_of, start_of
from sde_diffusion.tasks.run import provenance


@keywords("guidance")
def calibrate(
    self: OpenedModel,
    nfe: Any = (4, 5, 6, 8, 10),
    label: Any = "all",
    *,
    prompt: Any = None,
    negative: Any = None,
    guidance: Any = (),
    mode: str = "scalar",
    modes: int = MODES,
    noises: int = 128,
    held_out: int = 64,
    tries: int = 60,
    budget: int = 30,
    nodes: int = 64,
    twin: int | None = None,
    data: Any = None,
    seed: int = 1_000_000,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    batch_size: int = 128,
    device: Any = "cpu",
    folder: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Calibrated:
    """What ``Model.calibrate`` says, for any opened model."""
    guides = guides_of(Options.of(options, ("guidance",)), guidance)
    seeds, settings, depth = _amounts(
        seed,
        nodes,
        {
            "noises": noises,
            "held_out": held_out,
            "budget": budget,
            "tries": tries,
            "batch_size": batch_size,
            "modes": modes,
        },
        mode,
    )
    wishes = {"label": label, "prompt": prompt, "negative": negative}
    model = guided(self.denoiser, guides)
    cond = self.condition(wishes, seeds, model.classes_of_guidance)
    if negative is not None and not model.asks_empty:
        raise InputError(f'negative={negative}: nothing leads away from it; give guidance="cfg"')
    calls = calls_of(values.several("nfe", nfe, 1), model.cost, depth)
    ends = _ends(self, sigma_min, sigma_max)
    asked, pictures, seen = model, None, cond
    if twin is not None:
        pictures = image_set("data", data)
        asked, seen = _twin(model, pictures, twin, ends, seeds[0], guides, cond)
    elif data is not None:
        raise InputError("data: read only for a twin; give twin=4, or leave it out")
    bar, place = values.truth("progress", progress), usable_device(str(device))
    start = start_of(self, ends[1])
    fitting = Fitting(asked, seen, seeds, calls, settings, depth, *ends, place, bar, start)
    facts = _asked(settings, fitting, wishes, guides, twin, self)
    depends = {**facts, "data": None if pictures is None else pictures.fingerprint}
    del depends["nfe"]
    if settings.modes == MODES:  # which all had before there was a choice
        del depends["modes"]
    with workplace(folder, unknown_content(self, facts)) as (output, kept):
        rules, normal, _ = fitting.run(kept, depends, lambda calls, rule: None)
        calibration = fitting.calibration(
            rules, normal, model, cond is not None, provenance(self, facts)
        )
        file = output.folder / "calibration.safetensors"
        calibration.save(file)
        return Calibrated(Calibration.load(file))


def _amounts(
    seed: Any, nodes: Any, amounts: Mapping[str, Any], mode: str
) -> tuple[range, Settings, int]:
    """The seeds of the noises, what a fit may spend, and evaluations of the reference."""
    counts = {key: values.whole(key, amount, 0) for key, amount in amounts.items()}
    settings = Settings(**counts, mode=str(mode))
    settings.check()
    first = values.whole("seed", seed, 0)
    seeds = range(first, first + settings.noises + settings.held_out)
    return seeds, settings, values.whole("nodes", nodes, 1)


def _ends(model: OpenedModel, low: Any, high: Any) -> tuple[float, float]:
    """The least and the largest noise level."""
    least, most = ends_of(model)
    return (
        least if low is None else values.number("sigma_min", low),
        most if high is None else values.number("sigma_max", high),
    )


def _twin(
    model: Denoiser,
    data: Any,
    components: Any,
    ends: tuple[float, float],
    seed: int,
    guides: Sequence[Guidance],
    cond: Condition | None,
) -> tuple[Denoiser, Condition | None]:
    """The denoiser of a mixture of the data in the place of the model, and its condition."""
    if tuple(data.images.shape[1:]) != model.shape:
        raise InputError(f"data: images {tuple(data.images.shape[1:])}, not {model.shape}")
    twin = mixture_twin(data, values.whole("twin", components, 1), *ends, seed)
    return guided(twin, guides), None if data.labels is None else cond


def _asked(
    settings: Settings,
    fitting: Fitting,
    wishes: Mapping[str, Any],
    guides: Sequence[Guidance],
    twin: int | None,
    model: OpenedModel,
) -> dict[str, Any]:
    """What the rules depend on, as plain values."""
    cost = fitting.denoiser.cost
    return identity(
        {
            "task": "calibrate",
            **asdict(settings),
            "nfe": [calls * cost for calls in fitting.calls],
            "nodes": fitting.nodes,
            "seed": fitting.seeds[0],
            "sigma_min": fitting.sigma_min,
            "sigma_max": fitting.sigma_max,
            **{word: wish for word, wish in wishes.items() if word == "label" or wish is not None},
            "guidance": [{**guide.identity(), **guide.content} for guide in guides],
            "twin": twin,
            "precision": model.arithmetic,
            "model": model.fingerprint,
        }
    )
