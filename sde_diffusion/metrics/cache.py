"""References kept by the content that they were made of, never by a name that somebody typed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from sde_diffusion.data.images import ImageSet
from sde_diffusion.errors import InputError
from sde_diffusion.files import cache_folder
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.reference import FORMAT, KEEP, ReferenceSet


def cache_path(
    extractor: Extractor, data: ImageSet, held_out: ImageSet | None, keep: int = KEEP
) -> Path:
    """Where the reference of these very pixels and this very extractor is kept."""
    depends = {"data": data.fingerprint, "held_out": held_out and held_out.fingerprint,
               "extractor": extractor.fingerprint, "keep": keep, "format": FORMAT}  # fmt: skip
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / "references" / f"{key}.safetensors"


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
    made = ReferenceSet.of(extractor, data, held_out, keep)
    made.save(path)
    return made
