"""An autoencoder alone: a folder of its own, or that of a pipeline.

A model that was trained on its latents finds it in the folder ``codec`` beside its file.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sde_diffusion.codecs import PIXELS, Codec
from sde_diffusion.codecs.autoencoder import Autoencoder
from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.hub import PREFIX, fetched
from sde_diffusion.models.sources.latents.parts import PipelineParts, digest
from sde_diffusion.models.sources.weights import json_file
from sde_diffusion.models.spec import Spec

BESIDE = "codec"
CLASSES = ("AutoencoderKL", "AutoencoderTiny")
GIVE = "give the folder of a VAE of diffusers, or of a pipeline that has one, or hub:OWNER/NAME"


def open_autoencoder(source: str | Path) -> Autoencoder:
    """The autoencoder of a folder, a pipeline's folder, or hub:OWNER/NAME."""
    word = str(source)
    path = fetched(word, "codec") if word.startswith(PREFIX) else Path(word)
    place = path / "vae" if (path / "vae" / "config.json").is_file() else path
    if not (place / "config.json").is_file():
        raise InputError(f"codec={source}: has no config.json of an autoencoder; {GIVE}")
    try:
        named = str(json_file(place / "config.json").get("_class_name"))
        if named not in CLASSES:
            raise InputError(
                f"config.json: is of {named[:60]}; {' and '.join(CLASSES)} are read; {GIVE}"
            )
        parts = PipelineParts(place.parent, {place.name: ["diffusers", named]})
        vae = parts.model(place.name)
    except InputError as error:
        raise InputError(f"codec={source}: {error}") from error
    files = tuple(parts.files[1:])  # without the index, of which there is none
    return Autoencoder(vae, digest(place, files), files=files)


def recorded(codec: Autoencoder) -> dict[str, Any]:
    """What a checkpoint says of it."""
    return {"class": type(codec.vae).__name__, "identity": codec.identity}


def keep_beside(codec: Codec, folder: Path) -> None:
    """Copy the files of an autoencoder into ``folder/codec``; InputError if another one is there.

    Pixels have none.
    """
    if not codec.files:
        return
    place = folder / BESIDE
    if place.is_dir():
        if open_autoencoder(place).identity != codec.identity:
            raise InputError(f"{place}: is another autoencoder; give another folder")
        return
    written = place.with_name(f".{BESIDE}.part")
    shutil.rmtree(written, ignore_errors=True)
    copy_files(codec, written)
    written.rename(place)


def copy_files(codec: Codec, folder: Path) -> None:
    """The files of an autoencoder into a new ``folder``."""
    folder.mkdir(parents=True)
    for path in (*codec.files, *codec.files[0].parent.glob("*.index.json")):
        shutil.copyfile(path, folder / path.name)


def codec_of(spec: Spec, path: Path, asked: str | None = None) -> Codec:
    """That of a checkpoint: of the folder beside the file ``path``, or of the one ``asked`` for."""
    record = spec.config.get(BESIDE)
    if not isinstance(record, dict) or not isinstance(record.get("identity"), str):
        if asked is not None:
            raise InputError(
                f"codec={asked}: checkpoint={path} was not trained by codec=; leave it out"
            )
        return PIXELS
    beside = path.parent / BESIDE
    if not beside.is_dir() and (path.parent.parent / BESIDE).is_dir():  # of a run's snapshots
        beside = path.parent.parent / BESIDE
    if asked is None and not beside.is_dir():
        raise InputError(
            f"checkpoint={path}: draws latents of an autoencoder, which lay in the folder "
            f"{BESIDE} beside it; put it there, or give it as load(PATH, codec=FOLDER), "
            "'sde-diffusion convert checkpoint=PATH source={codec: FOLDER} output=NEW/NAME'"
        )
    codec = open_autoencoder(beside if asked is None else asked)
    if codec.identity != record["identity"]:
        raise InputError(
            f"codec={beside if asked is None else asked}: is another autoencoder than that of "
            f"checkpoint={path}; give the one that it was trained with"
        )
    return codec
