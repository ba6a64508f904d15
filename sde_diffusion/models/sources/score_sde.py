"""score_sde's checkpoints (Song et al., arXiv:2011.13456), read as data.

A file is {"optimizer", "model", "ema", "step"}. The averaged weights are a list in the order of the
trained parameters, without names; which process they were trained on is not in the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.models import inert
from sde_diffusion.models.opened import Finding, OpenedModel
from sde_diffusion.models.sources.foreign import build, check_size, shapes_of, unsaid
from sde_diffusion.models.sources.layout import State, Taker, Unit, units
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.notice import once

BLOCK = {
    "norm_in": "GroupNorm_0",
    "conv_in": "Conv_0",
    "affine": "Dense_0",
    "norm_out": "GroupNorm_1",
    "conv_out": "Conv_1",
}
CIFAR = 32
FAMILIES = ("vp", "subvp", "ve")
# Whether a time is told by drawn frequencies, and how its inputs come in at every level.
PUBLISHED = {"vp": (False, "standard"), "subvp": (False, "standard"), "ve": (True, "residual")}
FIRST = 1e-3  # the least time that VP and sub-VP are sampled at
EXPONENT = (19.9, 0.1)  # beta_max - beta_min, beta_min
FOURIER = "all_modules.0.W"


def recognised(path: Path) -> bool:
    """Whether it is a torch file that names score_sde's layers and its average."""
    return inert.is_pickle(path) and inert.mentions(path, b"all_modules.0.", b"NIN_0.W")


def opened(
    path: Path, dtype: torch.dtype, family: str | None = None, size: int | None = None
) -> OpenedModel:
    """The averaged network of a score_sde checkpoint.

    Args:
        family: of its process, which the file does not say: vp, subvp or ve.
        size: side of its images, which the file does not say either; left out, 32 of CIFAR-10.
    """
    if family not in FAMILIES:
        unsuited = "" if family is None else f" and family={family} is none of its"
        what = f"checkpoint={path}: a file of score_sde, which does not say its process{unsuited}"
        raise unsaid(what, "family", " or ".join(FAMILIES))
    if size is None:
        size = CIFAR
        once(
            f"checkpoint={path}: its file does not say the side of its images; {CIFAR} is taken, "
            "as of CIFAR-10; give size=64, say, for another"
        )
    content = inert.read(path)
    try:
        spec, weights, findings = converted(averaged(content), family, size)
    except InputError as error:
        raise InputError(f"checkpoint={path}: {error}") from error
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"checkpoint={path}: is not score_sde's ({error!r:.100})") from error
    return build(path, spec, weights, dtype, findings)


def averaged(content: Mapping[str, Any]) -> State:
    """The weights by name, averaged where they were trained: frequencies and buffers were not."""
    for key, holds in (("model", "the weights"), ("ema", "their average, which is drawn")):
        if not isinstance(content, Mapping) or not isinstance(content.get(key), Mapping):
            raise InputError(f"has no {key}, {holds}; give a checkpoint that its training wrote")
    state, whole = dict(content["model"]), "all_modules."
    while not any(k.startswith(whole) for k in state) and all("." in k for k in state):
        state = {k.split(".", 1)[1]: v for k, v in state.items()}
    trained = [k for k in state if k not in ("sigmas", FOURIER)]
    shadow = content["ema"]["shadow_params"]
    if [tuple(state[k].shape) for k in trained] != [tuple(v.shape) for v in shadow]:
        raise InputError("its average is not of the weights that it names")
    return state | dict(zip(trained, shadow, strict=True))


def converted(
    state: Mapping[str, Tensor], family: str, size: int
) -> tuple[Spec, State, tuple[Finding, ...]]:
    """Our spec and weights, and what they were read off; arguments as of ``opened``."""
    args = arguments(state, family)
    check_size(size, args["widths"])
    kind = (args["fourier"], args["encoder"])
    if kind != PUBLISHED[family]:
        fits = [name for name, layers in PUBLISHED.items() if layers == kind]
        raise InputError(
            f"family={family}: its layers are not those published for it, DDPM++ of vp and subvp, "
            f"NCSN++ of ve; give family={' or '.join(fits)}"
            if fits
            else "is no DDPM++ of vp or subvp and no NCSN++ of ve as published; give one of these"
        )
    convention, levels = _convention(family)
    spec = Spec("songunet", args, "convention", convention, (args["channels"], size, size), *levels)
    shapes, taker = shapes_of(spec), Taker(state)
    taker.forget("sigmas")
    _take(taker, shapes, args)
    findings = (
        Finding("family", f"score_sde {family}", "family, as given: the file does not say it"),
        Finding("network", "NCSN++" if args["fourier"] else "DDPM++", "all_modules.0"),
        Finding("prediction", str(convention["prediction"]), "family"),
        Finding("label", str(convention["label"]), "family"),
        Finding("weights", "averaged", "ema.shadow_params, in the order of `model`"),
        Finding("levels", f"{levels[0]:.4g} .. {levels[1]:.4g}", "family, on -1 .. 1"),
    )
    return spec, taker.finish(shapes), findings


def _convention(family: str) -> tuple[dict[str, Any], tuple[float, float]]:
    """The parameterization of a process, and its levels sigma / alpha."""
    if family == "ve":  # .01 .. 50 on images 0 .. 1
        label: dict[str, Any] = {"kind": "log", "factor": 1.0, "unit": 2.0}
        return {"prediction": "minus_epsilon", "scaling": "none", "label": label}, (0.02, 100.0)
    d, low = EXPONENT
    sub = family == "subvp"
    powers = [0.5 * d * t**2 + low * t for t in (FIRST, 1.0)]
    ends = [2 * math.sinh(p / 2) if sub else math.sqrt(math.expm1(p)) for p in powers]
    label = {"kind": "vp_time", "factor": 999.0, "beta_d": d, "beta_min": low, "sub": sub}
    label["exact"] = True
    scaling = "sub_vp" if sub else "variance"
    return {"prediction": "epsilon", "scaling": scaling, "label": label}, (ends[0], ends[1])


def arguments(state: Mapping[str, Tensor], family: str) -> dict[str, Any]:
    """The arguments of our network, read off the flat list of layers."""
    fourier = FOURIER in state
    first = int(fourier)
    embedding, noise = state[f"all_modules.{first}.weight"].shape
    stem, channels = state[f"all_modules.{first + 2}.weight"].shape[:2]
    widths, attention, level, count, blocks, residual = [stem], set(), 0, 0, 0, False
    place = first + 3
    while True:
        name = f"all_modules.{place}"
        if f"{name}.NIN_0.W" in state:
            if f"all_modules.{place - 1}.Conv_0.weight" in state and _is_middle(state, place):
                break
            attention.add(level)
        elif f"{name}.Conv2d_0.weight" in state:
            residual = True
        elif _turns(state, name):
            level, blocks, count = level + 1, count, 0
            widths.append(widths[-1])
        elif f"{name}.Conv_0.weight" in state:
            widths[level] = state[f"{name}.Conv_0.weight"].shape[0]
            count += 1
        else:
            raise InputError(f"layer {name} is none of DDPM++ or NCSN++ of score_sde")
        place += 1
    return {
        "channels": channels,
        "stem": stem,
        "widths": widths,
        "blocks": blocks or count - 1,
        "attention": sorted(attention),
        "noise": noise,
        "embedding": embedding,
        "fourier": fourier,
        "encoder": "residual" if residual else "standard",
        "resample": [1, 3, 3, 1] if family == "ve" else [1, 1],
    }


def _turns(state: Mapping[str, Tensor], name: str) -> bool:
    """Whether a block halves: it has as many channels after as before, and projects its skip."""
    conv = state.get(f"{name}.Conv_0.weight")
    same = conv is not None and conv.shape[0] == conv.shape[1]
    return same and f"{name}.Conv_2.weight" in state


def _is_middle(state: Mapping[str, Tensor], place: int) -> bool:
    """Whether attention stands between two blocks of which the next one takes no skip."""
    after = state.get(f"all_modules.{place + 1}.Conv_0.weight")
    beyond = state.get(f"all_modules.{place + 2}.Conv_0.weight")
    plain = after is not None and after.shape[0] == after.shape[1]
    return plain and beyond is not None and beyond.shape[0] < beyond.shape[1]


def _take(taker: Taker, shapes: Mapping[str, torch.Size], args: Mapping[str, Any]) -> None:
    """The layers one after the other, as ``units`` walks ours."""
    place = int(args["fourier"])
    for ours in ("embed.0", "embed.1"):
        taker.take(ours, f"all_modules.{place}")
        place += 1
    for unit in units(shapes):
        name = f"all_modules.{place}"
        if unit.kind == "outlet":
            taker.take("head_norm", name)
            taker.take("head", f"all_modules.{place + 1}")
        elif unit.kind == "stem":
            taker.take("stem", name)
        elif unit.kind == "inlet":
            taker.take(unit.name, f"{name}.Conv2d_0")
        else:
            _block(taker, unit, place)
        place += 1 + unit.attends
    if args["fourier"]:
        taker.taken["features.frequencies"] = taker.pop(FOURIER)
    else:
        half = args["noise"] // 2
        steps = torch.arange(half, dtype=torch.float32)
        taker.taken["features.frequencies"] = torch.exp(steps * -(math.log(10000) / (half - 1)))


def _block(taker: Taker, unit: Unit, place: int) -> None:
    name, attention = f"all_modules.{place}", f"all_modules.{place + 1}"
    taker.take_each(unit.name, name, BLOCK)
    if f"{name}.Conv_2.weight" in taker.left:
        taker.take(f"{unit.name}.skip", f"{name}.Conv_2")
    if unit.attends:
        taker.take(f"{unit.name}.attention.norm", f"{attention}.GroupNorm_0")
        # NIN.W is [in, out].
        matrices = [taker.pop(f"{attention}.NIN_{k}.W").t() for k in range(4)]
        biases = [taker.pop(f"{attention}.NIN_{k}.b") for k in range(4)]
        ours = f"{unit.name}.attention"
        taker.taken[f"{ours}.qkv.weight"] = torch.cat(matrices[:3])[..., None, None]
        taker.taken[f"{ours}.qkv.bias"] = torch.cat(biases[:3])
        taker.taken[f"{ours}.out.weight"] = matrices[3][..., None, None]
        taker.taken[f"{ours}.out.bias"] = biases[3]
