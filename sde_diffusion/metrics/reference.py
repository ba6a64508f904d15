"""Reference statistics of real images, with held-out features for the floor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sde_diffusion.data.images import ImageSet
from sde_diffusion.errors import InputError
from sde_diffusion.files import write_atomically
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.frechet import Reference
from sde_diffusion.metrics.stats import FeatureStats

FORMAT = 1
KEY = "sde_diffusion_reference"


@dataclass(frozen=True)
class ReferenceSet:
    """Statistics of the reference, and features of real images that are not in it.

    Attributes:
        name, data_fingerprint: the reference data, by name and by content.
        extractor, extractor_fingerprint: whose features these are.
        stats: of the reference. held_out: features float16 [M, d], the floor at N <= M.
    """

    name: str
    data_fingerprint: str
    extractor: str
    extractor_fingerprint: str
    stats: FeatureStats
    held_out: Tensor

    @cached_property
    def reference(self) -> Reference:
        """The statistics with their root, taken once."""
        return Reference.from_stats(self.stats)

    @classmethod
    def of(cls, extractor: Extractor, data: ImageSet, held_out: ImageSet) -> ReferenceSet:
        """Statistics of ``data`` and features of ``held_out``."""
        return cls(
            data.name, data.fingerprint, extractor.name, extractor.fingerprint,
            FeatureStats.of(extractor(data.images)),
            extractor(held_out.images).to(torch.float16),
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        facts = {"format": FORMAT, "name": self.name, "data_fingerprint": self.data_fingerprint,
                 "extractor": self.extractor, "n": self.stats.n,
                 "extractor_fingerprint": self.extractor_fingerprint}  # fmt: skip
        tensors = {"mean": self.stats.mean, "M2": self.stats.M2, "held_out": self.held_out}
        write_atomically(path, save(tensors, {KEY: json.dumps(facts)}))

    @classmethod
    def load(cls, path: Path, extractor: Extractor) -> ReferenceSet:
        """Read a file made with this very extractor; InputError otherwise."""
        if not path.is_file():
            raise InputError(
                f"reference={path}: no such file; make one with 'sde-diffusion extractor', "
                "or give images"
            )
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})[KEY])
                mean, m2, held_out = (file.get_tensor(k) for k in ("mean", "M2", "held_out"))
            if facts["format"] != FORMAT:
                raise ValueError(f"another version, not format {FORMAT}")
            stats = FeatureStats(int(facts["n"]), mean, m2)
            found = cls(facts["name"], facts["data_fingerprint"], facts["extractor"],
                        facts["extractor_fingerprint"], stats, held_out)  # fmt: skip
            found._check()
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"reference={path}: torn, or not reference statistics of this package ({reason}); "
                "make them with 'sde-diffusion extractor'"
            ) from error
        if found.extractor_fingerprint != extractor.fingerprint:
            raise InputError(
                f"reference={path}: made with extractor {found.extractor} "
                f"{found.extractor_fingerprint}, not {extractor.name} {extractor.fingerprint}; "
                "make it again with 'sde-diffusion extractor'"
            )
        return found

    def _check(self) -> None:
        mean, m2, held_out = self.stats.mean, self.stats.M2, self.held_out
        d = len(mean)
        if (mean.shape, m2.shape, held_out.shape[1:]) != ((d,), (d, d), (d,)) or self.stats.n < 2:
            raise ValueError("statistics of other shapes")
        if (mean.dtype, m2.dtype, held_out.dtype) != (torch.float64, torch.float64, torch.float16):
            raise ValueError("statistics of other types")
        if not all(bool(t.isfinite().all()) for t in (mean, m2, held_out)):
            raise ValueError("statistics that are not finite")
