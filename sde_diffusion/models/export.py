"""A model as a file of ours, or as a folder that diffusers reads."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sde_diffusion.codecs import PIXELS, Codec
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.models.file import save_checkpoint
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.schedulers import FILE
from sde_diffusion.models.sources.class_labels import CONFIG, MARK
from sde_diffusion.models.sources.diffusers import INDEX
from sde_diffusion.models.sources.latents.autoencoder import copy_files, keep_beside
from sde_diffusion.models.sources.weights import json_file
from sde_diffusion.models.spec import Spec
from sde_diffusion.models.written_schedulers import scheduler_config
from sde_diffusion.system.spelling import none_of
from sde_diffusion.system.storage import beside, fingerprint, write_atomically

FORMATS = ("safetensors", "diffusers")


def save_model(
    model: OpenedModel, path: Path, format: str = "safetensors", key: str = "output"
) -> None:
    """Write the weights of ``model`` with all that it takes to open them.

    Args:
        path: a file .safetensors, or the folder of ``diffusers``, which must not be there, unless
            it holds the same: then it stays.
        format: ``safetensors``, which opens here to the last bit, or ``diffusers``, of a network
            of diffusers.
        key: what a refusal calls the path.
    """
    if format not in FORMATS:
        raise none_of("format", format, FORMATS)
    spec, denoiser = model.spec, model.denoiser
    if spec is None and model.codec is not PIXELS:
        raise InputError(
            f"model={model.name}: a pipeline of diffusers, which opens as it is; only models "
            "of one network are written"
        )
    if spec is None or not isinstance(denoiser, NetworkDenoiser):
        raise InputError(
            f"model={model.name}: only a model of a file can be written, not a callable"
        )
    if format == "safetensors" and path.suffix != ".safetensors":
        raise InputError(f"{key}={path}: give a name that ends in .safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(**beside(path)) as spare:
        written = Path(spare) / path.name  # so that the path is there whole, or not at all
        if format == "diffusers":
            _save_folder(spec, denoiser, model.codec, written)
        else:
            tensors = {f"model.{k}": v for k, v in denoiser.network.state_dict().items()}
            save_checkpoint(written, spec, tensors)
            keep_beside(model.codec, path.parent)
        if not path.exists():
            os.replace(written, path)
        elif _files(path) != _files(written):
            raise InputError(f"{key}={path}: is there already; give another name")


def _files(path: Path) -> dict[str, str]:
    """Digests of a file, or of the files of a folder, by their places in it."""
    paths = sorted(each for each in path.rglob("*") if each.is_file()) or [path]
    return {str(each.relative_to(path)): fingerprint(each) for each in paths}


def _save_folder(spec: Spec, denoiser: NetworkDenoiser, codec: Codec, path: Path) -> None:
    if spec.network != "diffusers" or spec.parameterization not in ("discrete", "straight"):
        raise InputError(
            f"format=diffusers: a network {spec.network} with parameterization "
            f"{spec.parameterization} is none of diffusers'; give format=safetensors"
        )
    network: Any = denoiser.network
    pipeline, part = _pipeline(spec, network, codec)
    name = "transformer" if network.class_name.startswith("DiT") else "unet"
    network.network.save_pretrained(path / name, safe_serialization=True)
    config = json.loads((path / name / CONFIG).read_text())
    null = network.null_class if network.labelled else None
    config[MARK] = {"classes": spec.classes, "null_class": null}
    _write(path / name / CONFIG, config)
    scheduler = scheduler_config(spec)
    _write(path / "scheduler" / FILE, scheduler)
    index: dict[str, Any] = {
        "_class_name": pipeline,
        name: ["diffusers", network.class_name],
        "scheduler": ["diffusers", scheduler["_class_name"]],
    }
    if part:
        copy_files(codec, path / part)
        index[part] = ["diffusers", json_file(path / part / CONFIG)["_class_name"]]
    if spec.class_names:
        index["id2label"] = {str(k): label for k, label in enumerate(spec.class_names)}
    _write(path / INDEX, index)


def _pipeline(spec: Spec, network: Any, codec: Codec) -> tuple[str, str]:
    """Which pipeline draws the model, and what it calls the autoencoder; InputError if none does.

    Those of latents divide by the scaling and know no shift.
    """
    if not codec.files:
        return "DDPMPipeline", ""
    if codec.shifted:
        raise InputError(
            "format=diffusers: the codec has a shift or a mean, which no pipeline of this network "
            "undoes; give format=safetensors"
        )
    if network.class_name.startswith("DiT"):
        return "DiTPipeline", "vae"
    if network.class_name == "UNet2DModel" and not spec.classes:
        return "LDMPipeline", "vqvae"
    raise InputError(
        f"format=diffusers: no pipeline draws latents by a {network.class_name} of "
        f"{spec.classes} classes; give format=safetensors"
    )


def _write(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())
