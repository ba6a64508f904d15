"""EDM's and EDM2's network pickles, read as data: arXiv:2206.00364 and arXiv:2312.02696.

A file is a pickle of {"ema": network, ...}, each module with its arguments and the source of its
class. The source is never read; the arguments name one of our networks, which is the same function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.denoisers.labels import NearestLabel
from sde_diffusion.errors import InputError
from sde_diffusion.models import inert
from sde_diffusion.models.opened import Finding, OpenedModel
from sde_diffusion.models.sources.edm_weights import weights
from sde_diffusion.models.sources.foreign import build, refuse_latents, shapes_of
from sde_diffusion.models.spec import Spec

OUTER = ("EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond", "Precond")
# Arguments of their networks: those that are read, and those of training and arithmetic alone.
KNOWN = [
    "img_resolution",
    "img_channels",
    "label_dim",
    "sigma_min",
    "sigma_max",
    "sigma_data",
    "model_type",
    "beta_d",
    "beta_min",
    "M",
    "epsilon_t",
    "C_1",
    "C_2",
    "channel_mult",
    "model_channels",
    "num_blocks",
    "channel_mult_noise",
    "channel_mult_emb",
    "attn_resolutions",
    "embedding_type",
    "encoder_type",
    "decoder_type",
    "resample_filter",
    "augment_dim",
    "res_balance",
    "attn_balance",
    "clip_act",
    "channels_per_head",
    "label_balance",
    "concat_balance",
    "use_fp16",
    "force_fp32",
    "dropout",
    "label_dropout",
    "logvar_channels",
    "in_channels",
    "out_channels",
]
# Levels that EDM's sampler stays within where the file says 0 .. infinity.
LEVELS = (0.002, 80.0)


def recognised(path: Path) -> bool:
    """Whether it is a plain pickle that mentions EDM's persistence near its beginning."""
    if not inert.is_pickle(path):
        return False
    with path.open("rb") as file:
        return b"torch_utils.persistence" in file.read(65536)


def opened(path: Path, dtype: torch.dtype) -> OpenedModel:
    """The network ``ema`` of the pickle, or the pickle's only network."""
    content = inert.read(path)
    net = _network(content)
    if not isinstance(net, inert.Persistent) or net.name not in OUTER:
        held = f"{net.name[:60]} and " if isinstance(net, inert.Persistent) else ""
        raise InputError(
            f"checkpoint={path}: holds {held}no network of EDM or EDM2 (one of "
            f"{', '.join(OUTER)}); give a network-snapshot-*.pkl"
        )
    try:
        kwargs, state = arguments(net), dict(inert.tensors(net))
        spec, weights, findings = converted(net.name, kwargs, state)
        refuse_latents(spec)
    except InputError as error:
        raise InputError(f"checkpoint={path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"checkpoint={path}: the arguments of its {net.name} are not EDM's ({error!r:.100})"
        ) from error
    return build(path, spec, weights, dtype, findings)


def _network(content: Any) -> Any:
    """``ema`` of a pickle, its only network under another name, or what it is itself."""
    if not isinstance(content, Mapping):
        return content
    nets = [part for part in content.values() if isinstance(part, inert.Persistent)]
    return content.get("ema") or (nets[0] if len(nets) == 1 else None)


def arguments(net: inert.Persistent) -> dict[str, Any]:
    """What the network was made with; what its attributes say where no arguments were kept."""
    keywords = net.fields.get("_init_kwargs")
    named = ("img_resolution", "img_channels", "label_dim", "sigma_data", "sigma_min", "sigma_max")
    attributes = {k: net.fields[k] for k in named if k in net.fields}
    return {**attributes, **(keywords if isinstance(keywords, dict) else {})}


def converted(
    name: str, kwargs: Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[Spec, dict[str, Tensor], tuple[Finding, ...]]:
    """Our spec and weights of a network of class ``name``, and what they were read off.

    Args:
        kwargs: what it was made with. state: its weights in its authors' names.
    """
    size, channels, classes = (
        int(kwargs.get(key, 0)) for key in ("img_resolution", "img_channels", "label_dim")
    )
    strange = [key for key in kwargs if key not in KNOWN and kwargs[key] not in (None, False)]
    if strange or (name == "Precond" and list(kwargs.get("resample_filter", [1, 1])) != [1, 1]):
        key = (strange or ["resample_filter"])[0]
        raise InputError(
            f"{key[:40]}={str(kwargs[key])[:40]}: an argument that is not known here and may "
            "change what the network does; give a file of the authors' own code"
        )
    convention, levels = _convention(name, kwargs)
    kind = "EDM2" if name == "Precond" else str(kwargs.get("model_type", _default_model(name)))
    make = {"SongUNet": _song, "DhariwalUNet": _dhariwal, "EDM2": _edm2}.get(kind)
    if make is None:
        raise InputError(f"model_type={kind}: no network of EDM; SongUNet or DhariwalUNet")
    network, args = make(kwargs)
    args |= {"channels": channels, "classes": classes}
    if name == "iDDPMPrecond":
        args["learned_variance"] = True
    latents = name == "Precond" and channels == 4
    spec = Spec(
        network,
        args,
        "convention",
        convention,
        (channels, size, size),
        *levels,
        classes=classes,
        kind="latents" if latents else "pixels",
    )
    where = f"the pickle's {name}"
    findings = (
        Finding("family", f"{'EDM2' if name == 'Precond' else 'EDM'} {name}", "class of `ema`"),
        Finding("network", kind, f"model_type of {where}"),
        Finding("prediction", str(convention["prediction"]), f"class {name}"),
        Finding("label", str(convention["label"]), f"class {name}"),
        Finding("levels", f"{levels[0]:g} .. {levels[1]:g}", f"sigma_min, sigma_max of {where}"),
        Finding("classes", str(classes), f"label_dim of {where}; no class is zeros"),
        Finding("codec", "Stability VAE" if latents else "pixels", "img_channels", not latents),
    )
    if name == "iDDPMPrecond":
        state = {k: v for k, v in state.items() if k != "u"}
    return spec, weights(kind, size, args, shapes_of(spec), dict(state)), findings


def _default_model(name: str) -> str:
    return "SongUNet" if name in ("VPPrecond", "VEPrecond") else "DhariwalUNet"


def _convention(name: str, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[float, float]]:
    """The parameterization of a preconditioning class, and its levels."""
    if name in ("EDMPrecond", "Precond"):
        data = float(kwargs.get("sigma_data", 0.5))
        low, high = float(kwargs.get("sigma_min", 0)), float(kwargs.get("sigma_max", math.inf))
        args: dict[str, Any] = {
            "prediction": "karras",
            "scaling": "karras",
            "label": {"kind": "log"},
        }
        return {**args, "sigma_data": data}, (max(low, LEVELS[0]), min(high, LEVELS[1]))
    if name == "VPPrecond":
        d, low, m = (
            float(kwargs.get(k, v)) for k, v in (("beta_d", 19.9), ("beta_min", 0.1), ("M", 1000))
        )
        label = {"kind": "vp_time", "factor": m - 1, "beta_d": d, "beta_min": low}
        first = float(kwargs.get("epsilon_t", 1e-5))
        ends = tuple(math.sqrt(math.expm1(0.5 * d * t**2 + low * t)) for t in (first, 1.0))
        return {"prediction": "epsilon", "scaling": "variance", "label": label}, (ends[0], ends[1])
    if name == "VEPrecond":
        label = {"kind": "log", "factor": 1.0, "unit": 2.0}
        ends = (float(kwargs.get("sigma_min", 0.02)), float(kwargs.get("sigma_max", 100)))
        args = {"prediction": "minus_epsilon", "scaling": "none", "label": label}
        return args, (ends[0], ends[1])
    steps = int(kwargs.get("M", 1000))
    c_1, c_2 = float(kwargs.get("C_1", 0.001)), float(kwargs.get("C_2", 0.008))
    label = {"kind": "nearest", "steps": steps, "c_1": c_1, "c_2": c_2}
    u = NearestLabel(steps, c_1, c_2).levels
    levels = (float(u[steps - 1]), float(u[0]))
    return {"prediction": "epsilon", "scaling": "variance", "label": label}, levels


def _levels_of(kwargs: Mapping[str, Any], default: list[int], mults: int) -> list[int]:
    """Indices of the resolutions with attention, of ``attn_resolutions`` in pixels."""
    size, sides = int(kwargs["img_resolution"]), kwargs.get("attn_resolutions", default)
    return [level for level in range(mults) if size >> level in sides]


def _song(kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    mults = list(kwargs.get("channel_mult", [1, 2, 2, 2]))
    width = int(kwargs.get("model_channels", 128))
    args = {
        "stem": width,
        "widths": [width * m for m in mults],
        "blocks": int(kwargs.get("num_blocks", 4)),
        "attention": _levels_of(kwargs, [16], len(mults)),
        "noise": width * int(kwargs.get("channel_mult_noise", 1)),
        "embedding": width * int(kwargs.get("channel_mult_emb", 4)),
        "fourier": kwargs.get("embedding_type", "positional") == "fourier",
        "encoder": kwargs.get("encoder_type", "standard"),
        "decoder": kwargs.get("decoder_type", "standard"),
        "resample": list(kwargs.get("resample_filter", [1, 1])),
        "augment": int(kwargs.get("augment_dim", 0)),
    }
    return "songunet", args


def _dhariwal(kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    mults = list(kwargs.get("channel_mult", [1, 2, 3, 4]))
    width = int(kwargs.get("model_channels", 192))
    args = {
        "noise": width,
        "widths": [width * m for m in mults],
        "blocks": int(kwargs.get("num_blocks", 3)),
        "attention": _levels_of(kwargs, [32, 16, 8], len(mults)),
        "embedding": width * int(kwargs.get("channel_mult_emb", 4)),
        "augment": int(kwargs.get("augment_dim", 0)),
    }
    return "adm", args


def _edm2(kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    mults = list(kwargs.get("channel_mult", [1, 2, 3, 4]))
    width = int(kwargs.get("model_channels", 192))
    noise, emb = kwargs.get("channel_mult_noise"), kwargs.get("channel_mult_emb")
    widths = [width * m for m in mults]
    for key, published in (("res_balance", 0.3), ("attn_balance", 0.3), ("clip_act", 256)):
        if kwargs.get(key, published) != published:
            raise InputError(f"{key}={kwargs[key]}: only the published {published} is known")
    args = {
        "widths": widths,
        "blocks": int(kwargs.get("num_blocks", 3)),
        "attention": _levels_of(kwargs, [16, 8], len(mults)),
        "noise": widths[0] if noise is None else width * int(noise),
        "embedding": max(widths) if emb is None else width * int(emb),
        "head_width": int(kwargs.get("channels_per_head", 64)),
        "label_balance": float(kwargs.get("label_balance", 0.5)),
        "concat_balance": float(kwargs.get("concat_balance", 0.5)),
    }
    return "edm2", args
