"""Reference statistics of real images, with features of them and of held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from sde_diffusion.data.splits import fixed_order
from sde_diffusion.errors import InputError
from sde_diffusion.images.blocks import taken
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.frechet import Reference, root_of
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.system import strict_json
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, first_checksum

KEEP = 20_000
# The count of published statistics, which do not say of how many images they are: M2 is then their
# covariance, and no interval is given.
PUBLISHED = 0
TENSORS = ("mean", "M2", "features", "held_out")
LABELS = "held_out_labels"


def _first_reference(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    facts: Facts = strict_json.loads(metadata["sde_diffusion_reference"])
    if facts["format"] != 2:
        raise ValueError(f"format {facts['format']}")
    if facts["checksum"] != first_checksum({name: tensors[name] for name in TENSORS}):
        raise ValueError("its checksum is wrong")
    return facts


REFERENCE = SealedKind(
    "reference", 3, "make one with 'sde-diffusion reference', or give images", _first_reference
)


@dataclass(frozen=True)
class ReferenceSet:
    """Statistics of the reference, features of some of it, and of real images not in it.

    Attributes:
        name, data_fingerprint: the reference data, by name and by content.
        held_out_fingerprint: the held-out data by content, "" if there are none.
        shape: of one image, (C, H, W).
        extractor, extractor_fingerprint: whose features these are.
        stats: of the whole reference.
        features: float16 [K, d] of up to 20,000 of its images, drawn once, in random order:
            what KID, precision, recall and the reference's side of an interval are made of.
        held_out: float16 [M, d], in random order; the floor at N <= M.
        held_out_labels: int64 [M] of them, or [0] if they have none.
    """

    name: str
    data_fingerprint: str
    held_out_fingerprint: str
    shape: tuple[int, ...]
    extractor: str
    extractor_fingerprint: str
    stats: FeatureStats
    features: Tensor
    held_out: Tensor
    held_out_labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @cached_property
    def reference(self) -> Reference:
        """The statistics with their root, taken once."""
        if self.stats.n == PUBLISHED:
            return Reference(self.stats.mean, self.stats.M2, PUBLISHED, root_of(self.stats.M2))
        return Reference.from_stats(self.stats)

    @classmethod
    def of(
        cls,
        extractor: Extractor,
        data: ImageSet,
        held_out: ImageSet | None = None,
        keep: int = KEEP,
    ) -> ReferenceSet:
        """Statistics and features of ``data``, and features of ``held_out``, batch by batch.

        At most ``keep`` features of either are kept. InputError for fewer than two images, or
        features that are not finite in float16.
        """
        if keep < 2:
            raise InputError(f"keep={keep}: give a number of features >= 2")
        if len(data) < 2:
            raise InputError(f"reference={data.name}: {len(data)} images; give at least 2")
        stats = FeatureStats.empty(extractor.dim)
        # Which images are kept is fixed, and in an order of its own: a prefix is a fair sample.
        rows = fixed_order(len(data))[:keep]
        place = torch.full((len(data),), -1)
        place[rows] = torch.arange(len(rows))
        features = torch.empty(len(rows), extractor.dim, dtype=torch.float16)
        first = 0
        for part in extractor.stream(data.images):
            stats = stats.update(part)
            to = place[first : first + len(part)]
            features[to[to >= 0]] = part[to >= 0].to(torch.float16)
            first += len(part)
        kept = torch.empty(0, extractor.dim, dtype=torch.float16)
        if held_out is not None:
            kept = torch.cat([x.half() for x in extractor.stream(drawn_of(held_out, keep))])
        reference = cls(
            data.name,
            data.fingerprint,
            "" if held_out is None else held_out.fingerprint,
            tuple(data.images.shape[1:]),
            extractor.name,
            extractor.fingerprint,
            stats,
            features,
            kept,
            labels_of(held_out, keep),
        )
        try:
            reference._check()
        except ValueError as error:
            raise InputError(f"extractor={extractor.name}: of {data.name}: {error}") from error
        return reference

    def _tensors(self) -> dict[str, Tensor]:
        values = (self.stats.mean, self.stats.M2, self.features, self.held_out)
        return {k: v.contiguous() for k, v in zip(TENSORS, values, strict=True)}

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        names = (
            "name",
            "data_fingerprint",
            "held_out_fingerprint",
            "shape",
            "extractor",
            "extractor_fingerprint",
        )
        tensors = self._tensors()
        if len(self.held_out_labels):
            tensors[LABELS] = self.held_out_labels
        facts = {"n": self.stats.n, **{name: getattr(self, name) for name in names}}
        REFERENCE.write(path, tensors, facts)

    @classmethod
    def load(cls, path: Path, extractor: Extractor) -> ReferenceSet:
        """Read a file made with this very extractor; InputError otherwise."""
        reference = REFERENCE.read(path, "reference", cls.parse)
        if reference.extractor_fingerprint != extractor.fingerprint:
            raise InputError(
                f"reference={path}: made with extractor {reference.extractor} "
                f"{reference.extractor_fingerprint}, not {extractor.name} {extractor.fingerprint}; "
                "make it again with 'sde-diffusion reference'"
            )
        return reference

    @classmethod
    def parse(cls, facts: Facts, tensors: Tensors) -> ReferenceSet:
        """The reference in a file's content; ValueError if there is none in it."""
        mean, m2, features, held_out = (tensors[name] for name in TENSORS)
        reference = cls(
            str(facts["name"]),
            str(facts["data_fingerprint"]),
            str(facts["held_out_fingerprint"]),
            tuple(map(int, facts["shape"])),
            str(facts["extractor"]),
            str(facts["extractor_fingerprint"]),
            FeatureStats(int(facts["n"]), mean, m2),
            features,
            held_out,
            tensors.get(LABELS, torch.empty(0, dtype=torch.int64)),
        )
        reference._check()
        return reference

    def _check(self) -> None:
        mean, m2, features, held_out = self._tensors().values()
        d, n = len(mean), self.stats.n
        shapes = (mean.shape, m2.shape, features.shape[1:], held_out.shape[1:])
        if shapes != ((d,), (d, d), (d,), (d,)) or not 2 <= n >= len(features):
            raise ValueError("statistics of other shapes")
        wide, narrow = {mean.dtype, m2.dtype}, {features.dtype, held_out.dtype}
        if (wide, narrow) != ({torch.float64}, {torch.float16}):
            raise ValueError("statistics of other types")
        labels = self.held_out_labels
        if labels.dtype != torch.int64 or labels.shape not in ((0,), (len(held_out),)):
            raise ValueError("labels of other shapes")
        if not all(bool(t.isfinite().all()) for t in (mean, m2, features, held_out)):
            raise ValueError("statistics that are not finite")
        if not is_covariance(m2):
            raise ValueError("second moments that are none")
        if not _may_hold(self.stats, features):
            raise ValueError("a mean or second moments that are not of its features")


def is_covariance(moments: Tensor) -> bool:
    """Whether M [d, d] is symmetric and, up to 1e-6 of its largest variance, positive."""
    top = float(moments.diagonal().max())
    if not torch.allclose(moments, moments.T, atol=1e-8 * abs(top)) or top <= 0:
        return bool((moments == 0).all())
    shifted = moments / top
    shifted.diagonal().add_(1e-6)
    return int(torch.linalg.cholesky_ex(shifted)[1]) == 0


def _may_hold(stats: FeatureStats, part: Tensor) -> bool:
    """Whether ``part`` [k, d] can be k of the n features that the statistics are of.

    By Chan's rule M2 >= M2_part + k n / (n - k) (mean_part - mean)^2 in every feature, up to the
    rounding of ``part`` to float16.
    """
    n, k = stats.n, len(part)
    if k == 0:
        return True
    mean = part.sum(0, dtype=torch.float64) / k
    rounding = 2**-10 * part.abs().sum(0, dtype=torch.float64) / k + 2**-20
    most = (stats.M2.diagonal().clamp(min=0) * (n - k) / (k * n)).sqrt()
    return bool(((mean - stats.mean).abs() <= most * (1 + 1e-6) + rounding).all())


def drawn_of(held_out: ImageSet, keep: int) -> Tensor:
    """Those held-out images whose features are kept, in a fixed random order."""
    return taken(held_out.images, fixed_order(len(held_out))[:keep])


def labels_of(held_out: ImageSet | None, keep: int) -> Tensor:
    """The labels of those held-out images whose features are kept, in their order; [0] if none."""
    if held_out is None or held_out.labels is None:
        return torch.empty(0, dtype=torch.int64)
    return held_out.labels[fixed_order(len(held_out))[:keep]]
