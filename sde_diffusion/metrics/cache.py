"""References kept by the content that they were made of, never by a name that somebody typed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import final

from torch import Tensor

from sde_diffusion.images.blocks import release
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.reference import KEEP, REFERENCE, ReferenceSet, drawn_of, labels_of
from sde_diffusion.system.notice import optional
from sde_diffusion.system.processes import size
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors
from sde_diffusion.system.share import shared
from sde_diffusion.system.storage import cache_folder

# Of what is kept: to be raised with any change of what the same images give.
STATISTICS = 2
# A batch that took longer is worth a file until the reference is whole.
SLOW_SECONDS = 2.0
BATCH = SealedKind("batch of features", 1, "run the same command again")


def cache_path(
    extractor: Extractor, data: ImageSet, held_out: ImageSet | None, keep: int = KEEP
) -> Path:
    """Where the reference of these very pixels and this very extractor is kept."""
    depends = {
        "data": data.fingerprint,
        "held_out": held_out and held_out.fingerprint,
        "extractor": extractor.fingerprint,
        "keep": keep,
        "format": STATISTICS,
    }
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / "references" / f"{key}.safetensors"


@final
class Kept(Extractor):
    """An extractor whose batches are kept in ``folder`` if they took more than ``slow`` seconds,
    so that a killed run goes on."""

    def __init__(self, inner: Extractor, folder: Path, slow: float) -> None:
        self.inner, self.folder, self.slow = inner, folder, slow
        self.name, self.dim, self.fingerprint = inner.name, inner.dim, inner.fingerprint
        self.batch_size = self.rows = inner.batch_size
        self.writable = True

    def extract(self, images: Tensor) -> Tensor:
        path = self._path(images)
        kept = BATCH.recall(path, lambda facts, tensors: tensors["features"])
        if kept is not None:
            return kept
        began = time.perf_counter()
        features = self.inner.batch(images).cpu()
        if self.writable and time.perf_counter() - began > self.slow:
            self.writable = False  # unless it works: one line, not one a batch
            with optional("features kept for a restart"):
                BATCH.write(path, {"features": features}, {})
                self.writable = True
        return features

    def share(self, reference: Path, *sets: Tensor) -> None:
        """Keep the features of all batches of these images, each by the process that takes it
        first; what is in the file ``reference`` is not missing."""
        batches = [batch for images in sets for batch in images.split(self.batch_size)]
        for _ in shared(
            batches, self._path, self.extract, lambda batch: self._is_kept(batch, reference)
        ):
            for images in sets:
                release(images)

    def _is_kept(self, images: Tensor, reference: Path) -> bool:
        return self._path(images).is_file() or reference.is_file()

    def _path(self, images: Tensor) -> Path:
        pixels = f"{tuple(images.shape)}".encode() + images.contiguous().numpy().tobytes()
        return self.folder / f"{hashlib.sha256(pixels).hexdigest()[:32]}.safetensors"


def cached_reference(
    extractor: Extractor,
    data: ImageSet,
    held_out: ImageSet | None = None,
    keep: int = KEEP,
    slow: float = SLOW_SECONDS,
) -> ReferenceSet:
    """``ReferenceSet.of`` its arguments, made once on this machine.

    Until it is whole, batches of features that took more than ``slow`` seconds are kept too.

    What an earlier run left is verified (its checksum, its fingerprints); a file that fails is
    made again, after a line that says so. Where none can be written, a line says that too.
    """

    def parse(facts: Facts, tensors: Tensors) -> ReferenceSet:
        kept = ReferenceSet.parse(facts, tensors)
        if kept.extractor_fingerprint != extractor.fingerprint:
            raise ValueError(f"of extractor {kept.extractor_fingerprint}")
        if kept.data_fingerprint != data.fingerprint:
            raise ValueError(f"of other images, {kept.data_fingerprint}")
        # The same pixels may go by another name now, and have other labels.
        return replace(kept, name=data.name, held_out_labels=labels_of(held_out, keep))

    path = cache_path(extractor, data, held_out, keep)
    kept = Kept(extractor, path.with_suffix(".partial"), slow if size() == 1 else 0.0)
    references: dict[Path, ReferenceSet] = {}

    def make(path: Path) -> None:
        references[path] = ReferenceSet.of(kept, data, held_out, keep)
        with optional("reference kept in the cache"):
            references[path].save(path)
        shutil.rmtree(kept.folder, ignore_errors=True)

    def whole(path: Path) -> bool:
        reference = REFERENCE.recall(path, parse)
        if reference is not None:
            references[path] = reference
        return reference is not None

    if size() > 1 and not path.is_file():
        kept.share(path, data.images, *([] if held_out is None else [drawn_of(held_out, keep)]))
    for _ in shared([path], lambda path: path, make, whole):
        continue
    return references[path]
