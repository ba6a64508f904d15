"""diffusers' folders: a pipeline of a network and a scheduler, or the network alone.

Of ``model_index.json`` only the names of known classes are read: nothing that stands in a folder
runs. Weights are safetensors, whole or in shards, or a ``.bin`` that holds tensors alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.models.file import shapes
from sde_diffusion.models.opened import Finding, OpenedModel, name_left_out
from sde_diffusion.models.schedulers import (
    CONSISTENCY,
    FILE,
    ReadSchedule,
    predicted,
    read_schedule,
)
from sde_diffusion.models.sources import latents
from sde_diffusion.models.sources.class_labels import CONFIG, labels_of, names_of
from sde_diffusion.models.sources.layout import drawn_of
from sde_diffusion.models.sources.scheduled import of_two_classes, scheduler_of
from sde_diffusion.models.sources.weights import check_not_quantised, json_file, stored
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks.diffusers import CLASSES
from sde_diffusion.system.names import name_of
from sde_diffusion.system.storage import fingerprint

INDEX, WEIGHTS = "model_index.json", "diffusion_pytorch_model"
NETWORKS = ("unet", "transformer")
# Parts beside a network and its scheduler that pipelines of latents have.
TEXTS = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2",
         "tokenizer_3", "safety_checker", "feature_extractor", "image_encoder")  # fmt: skip
CODECS = ("vae", "vqvae")
# How classes begin that are none of torch.
OTHERS = {
    "Onnx": "are programs of ONNX; give the folder of torch that they were exported of",
    "Flax": "are weights of Flax; write them by diffusers' from_pretrained(PATH, from_flax=True)"
    ".save_pretrained(FOLDER), and give that",
}
LIBRARIES = ("diffusers", "transformers", None)
# Names of attention's weights before diffusers 0.17.
RENAMED = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def recognised(path: Path) -> bool:
    """Whether a folder has the index of a pipeline, or the config of a network."""
    return path.is_dir() and ((path / INDEX).is_file() or (path / CONFIG).is_file())


def opened(
    path: Path, dtype: torch.dtype, scheduler: Mapping[str, Any] | None = None, tiling: bool = False
) -> OpenedModel:
    """The model of a folder.

    Args:
        scheduler: the entries of a scheduler_config.json, for a folder without one.
        tiling: of a pipeline of latents: large pictures are decoded in tiles.
    """
    try:
        if (index := latent_index(path)) is not None:
            return latents.opened(path, dtype, index, scheduler, tiling)
        if tiling:
            raise InputError("tiling=true: a model of pixels decodes nothing; leave it out")
        spec, tensors, findings, names = read(path, scheduler)
    except InputError as error:
        raise InputError(f"checkpoint={path}: {error}") from error
    denoiser = spec.build()
    denoiser.network.load_state_dict(tensors)
    denoiser.network.to(dtype)
    denoiser.source = _fingerprint(names)
    name_left_out(path, findings)
    return OpenedModel(
        denoiser.eval().requires_grad_(False),
        str(path),
        denoiser.source,
        spec.conditioner,
        findings=tuple(findings),
        grid=spec.grid,
        spec=spec,
    )


def latent_index(path: Path) -> Mapping[str, Any] | None:
    """The index of a pipeline that has an autoencoder; None of any other."""
    index = json_file(path / INDEX) if (path / INDEX).is_file() else {}
    _check_torch(index)
    if not any(isinstance(index.get(key), list) and index[key][:1] != [None] for key in CODECS):
        return None
    network_of({**index, **{key: [None, None] for key in (*CODECS, *TEXTS)}})
    return index


def read(
    path: Path, scheduler: Mapping[str, Any] | None
) -> tuple[Spec, dict[str, Tensor], list[Finding], list[Path]]:
    """Spec, weights by name, findings, and the files that were read."""
    index = json_file(path / INDEX) if (path / INDEX).is_file() else {}
    folder = path / network_of(index) if index else path
    if not folder.is_dir():
        raise InputError(f"{folder.name}: no such folder beside {INDEX}; fetch it too")
    config = json_file(folder / CONFIG)
    class_name = _class_of(config, index, folder.name)
    where = path / "scheduler" / FILE
    if scheduler is None and not where.is_file():
        raise InputError(
            "nothing in the folder says at which noise levels it was trained; give the folder of "
            "its pipeline, or load(path, scheduler={'_class_name': 'DDPMScheduler', ...})"
        )
    schedule = read_schedule(scheduler_of(path, index) if scheduler is None else scheduler)
    spec, findings = described(class_name, config, index, schedule)
    files = stored(folder, WEIGHTS)
    check_not_quantised(files.paths, folder.name)
    tensors = _tensors(files.tensors(), folder.name)
    if (strange := misfit(shapes(spec), tensors)) is not None:
        raise InputError(
            f"weights do not fit {class_name} of {CONFIG}: {strange.removeprefix('network.')}; "
            "fetch weights and config of one model"
        )
    files_read = [p for p in (path / INDEX, folder / CONFIG, where) if p.is_file()]
    two = of_two_classes(path, index) if scheduler is None else []
    return spec, tensors, [*findings, *schedule.findings, *two], [*files_read, *files.paths]


def _class_of(config: Mapping[str, Any], index: Mapping[str, Any], part: str) -> str:
    """The class of a part's config; InputError for one that is not read, or not the index's."""
    named = index[part][1] if index else ""
    class_name = str(config.get("_class_name") or named)
    if index and named != class_name:
        raise InputError(
            f"{INDEX}: {part} is of class {str(named)[:60]}, and its {CONFIG} of "
            f"{class_name[:60]}; parts of two models are mixed up"
        )
    if class_name.startswith("Autoencoder"):
        raise InputError(
            f"{CONFIG}: {class_name[:60]} draws nothing by itself; give the folder of its "
            "pipeline, or train on its latents, 'sde-diffusion train codec=FOLDER'"
        )
    if class_name not in CLASSES:
        raise InputError(
            f"{CONFIG}: _class_name={class_name[:60]!r}; only {', '.join(CLASSES)} are read"
        )
    return class_name


def misfit(expected: Mapping[str, torch.Size], held: Mapping[str, Tensor]) -> str | None:
    """The first weight that is not as expected, and in which way; None where all are."""
    for name in sorted(set(expected) | set(held)):
        if name not in held:
            return f"{name} is not there"
        if name not in expected:
            return f"{name[:100]} is of no layer"
        if held[name].shape != expected[name]:
            return f"{name} is {list(held[name].shape)}, not {list(expected[name])}"
    return None


def _tensors(held: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Weights by the names that our network has for them; InputError for what is no float."""
    if whole := [name for name, value in held.items() if not value.is_floating_point()]:
        raise InputError(
            f"{part}: {whole[0][:80]} is no float: quantised, or no weight, which is not read; "
            "give the weights as they were before"
        )
    weights, _ = drawn_of(held)
    return {f"network.{_renamed(name)}": value for name, value in weights.items()}


def _check_torch(index: Mapping[str, Any]) -> None:
    """InputError for a pipeline of programs of ONNX, or of weights of Flax."""
    parts = [part for part in index.values() if isinstance(part, list) and len(part) == 2]
    for mark, fault in OTHERS.items():
        if any(str(part[1]).startswith(mark) for part in parts):
            raise InputError(f"{INDEX}: its parts {fault}")


def network_of(index: Mapping[str, Any]) -> str:
    """The folder of a pipeline's network; InputError for a pipeline that cannot be drawn."""
    pipeline = str(index.get("_class_name", ""))
    if pipeline.startswith(CONSISTENCY):
        raise InputError(
            f"{INDEX}: {pipeline[:60]} is of a distilled model, which is no denoiser: solvers on "
            "it are wrong; draw it with its own pipeline"
        )
    parts = {key: value for key, value in index.items() if not key.startswith("_")}
    listed = {key: value for key, value in parts.items() if isinstance(value, list)}
    for key in (*NETWORKS, "scheduler"):
        value = parts.get(key)
        if value is not None and not _is_pair(value):
            raise InputError(
                f"{INDEX}: {key}={str(value)[:60]} is no library and class; give them as "
                '["diffusers", CLASS]'
            )
    for key, value in listed.items():
        if len(value) != 2 or value[0] not in LIBRARIES:
            raise InputError(
                f"{INDEX}: {key[:40]} is of library {str(value[:1])[:60]}, which is code of the "
                "folder or of a package unknown here; it is not run"
            )
    present = [key for key, value in listed.items() if value[0] is not None]
    latent = [key for key in present if "vae" in key or "vq" in key]
    if latent:
        raise InputError(
            f"{INDEX}: {latent[0]}: a model of latents, whose autoencoder is not read yet; "
            "give a model of pixels"
        )
    networks = [key for key in present if key in NETWORKS]
    others = [key for key in present if key not in (*NETWORKS, "scheduler")]
    if len(networks) != 1 or others:
        what = f"has {others[0]} too" if others else f"has {len(networks)} networks"
        raise InputError(f"{INDEX}: {pipeline[:60]} {what}; give a pipeline of one unet, scheduler")
    return networks[0]


def _is_pair(value: Any) -> bool:
    """Library and class, or two nulls for a part that is not there."""
    return isinstance(value, list) and all(isinstance(word, str | None) for word in value)


def _shape(class_name: str, config: Mapping[str, Any]) -> list[int]:
    """Of a picture (C, H, W) by the config of its network; InputError for one that is none."""
    size, channels = config.get("sample_size"), config.get("in_channels", 3)
    if type(channels) is not int or not 0 < channels <= 8192:
        raise InputError(
            f"{CONFIG}: in_channels={str(channels)[:40]} is no number of channels; write 3, say"
        )
    sides = [size, size] if isinstance(size, int) else size
    shape = [channels, *sides] if isinstance(sides, list) and len(sides) == 2 else []
    if not shape or any(type(side) is not int or not 0 < side <= 8192 for side in shape):
        raise InputError(
            f"{CONFIG}: sample_size={str(size)[:40]} is no size of an image; write that of the "
            "pictures that it was trained on, 32, say"
        )
    widths = config.get("block_out_channels")
    halved = 2 ** (len(widths) - 1) if isinstance(widths, list) and len(widths) < 16 else 1
    if class_name == "UNet2DModel" and any(side % halved for side in shape[1:]):
        raise InputError(
            f"{CONFIG}: sample_size={size}, and its {len(widths or ())} levels halve multiples of "
            f"{halved} alone; write such a one"
        )
    return shape


def described(
    class_name: str, config: Mapping[str, Any], index: Mapping[str, Any], schedule: ReadSchedule
) -> tuple[Spec, list[Finding]]:
    """What is rebuilt, and what of the network's config says so."""
    channels, shape = config.get("in_channels", 3), _shape(class_name, config)
    classes, null, dropped = labels_of(class_name, config)
    names = names_of(index, classes)
    arguments = {
        "class_name": class_name,
        "config": {key: value for key, value in config.items() if not key.startswith("_")},
        "channels": channels,
        "classes": classes,
        "null_class": null,
        "nothing_dropped": not dropped,
    }
    grid = schedule.grid
    spec = Spec(
        network="diffusers",
        network_args=arguments,
        parameterization=schedule.parameterization,
        parameterization_args=schedule.arguments,
        shape=tuple(shape),
        sigma_min=schedule.sigma_min,
        sigma_max=schedule.sigma_max,
        classes=classes,
        class_names=names,
        config={"grid": {groups.named("grid", grid) or name_of(type(grid)): grid.fields()}},
    )
    return spec, [
        Finding("family", f"diffusers {class_name}", f"{CONFIG}: _class_name"),
        Finding("prediction", predicted(schedule), f"{FILE}: prediction_type, _class_name"),
        Finding("label", _label(schedule), "the family"),
        Finding(
            "levels",
            f"{spec.sigma_min:.4g} .. {spec.sigma_max:.4g}",
            f"{FILE}: betas, shift, sigma",
        ),
        Finding("classes", f"{classes}, no label: {null if dropped else 'no entry'}", CONFIG),
        Finding("codec", "pixels", f"{INDEX}: no autoencoder"),
        Finding("size", "x".join(map(str, shape)), f"{CONFIG}: in_channels, sample_size"),
    ]


def _label(schedule: ReadSchedule) -> str:
    """What the network is told of a level, for a reader."""
    if schedule.parameterization == "straight":
        return f"{schedule.arguments['scale']:g} t, t = sigma / (1 + sigma)"
    labels = {"consistency": "250 log(sigma)", "convention": "log(sigma) / 4"}
    return labels.get(schedule.parameterization, "number of the level, a fraction between two")


def _renamed(name: str) -> str:
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    return name


def _fingerprint(paths: list[Path]) -> str:
    return hashlib.sha256(" ".join(map(fingerprint, paths)).encode()).hexdigest()
