"""References kept by the content that they were made of, never by a name that somebody typed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import final

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.reference import FORMAT, KEEP, ReferenceSet
from sde_diffusion.system.storage import cache_folder, write_atomically

# A batch that took longer is worth a file until the reference is whole.
SLOW_SECONDS = 2.0


def cache_path(
    extractor: Extractor, data: ImageSet, held_out: ImageSet | None, keep: int = KEEP
) -> Path:
    """Where the reference of these very pixels and this very extractor is kept."""
    depends = {"data": data.fingerprint, "held_out": held_out and held_out.fingerprint,
               "extractor": extractor.fingerprint, "keep": keep, "format": FORMAT}  # fmt: skip
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / "references" / f"{key}.safetensors"


@final
class Kept(Extractor):
    """An extractor whose slow batches are kept in ``folder``, so that a killed run goes on."""

    def __init__(self, inner: Extractor, folder: Path) -> None:
        self.inner, self.folder = inner, folder
        self.name, self.dim, self.fingerprint = inner.name, inner.dim, inner.fingerprint
        self.batch_size = inner.batch_size

    def extract(self, images: Tensor) -> Tensor:
        pixels = f"{tuple(images.shape)}".encode() + images.contiguous().numpy().tobytes()
        path = self.folder / f"{hashlib.sha256(pixels).hexdigest()[:32]}.safetensors"
        if path.is_file():
            with contextlib.suppress(SafetensorError, KeyError):
                return load_file(path)["features"]
        began = time.perf_counter()
        features = self.inner.extract(images).cpu().contiguous()
        if time.perf_counter() - began > SLOW_SECONDS:
            write_atomically(path, save({"features": features}))
        return features


def cached_reference(
    extractor: Extractor, data: ImageSet, held_out: ImageSet | None = None, keep: int = KEEP
) -> ReferenceSet:
    """``ReferenceSet.of`` its arguments, made once on this machine.

    What is found is verified (whole, its checksum, its fingerprints); a file that fails is made
    again, after a line that says so.
    """
    path = cache_path(extractor, data, held_out, keep)
    if path.is_file():
        try:
            found = ReferenceSet.load(path, extractor)
            if found.data_fingerprint != data.fingerprint:
                raise InputError(f"reference={path}: of other images, {found.data_fingerprint}")
            # The same pixels may go by another name now.
            return replace(found, name=data.name)
        except InputError as error:
            tqdm.write(f"{error}; made again")
    partial = path.with_suffix(".partial")
    made = ReferenceSet.of(Kept(extractor, partial), data, held_out, keep)
    made.save(path)
    shutil.rmtree(partial, ignore_errors=True)
    return made
