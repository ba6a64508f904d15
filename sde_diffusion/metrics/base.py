"""What a metric beside the Fréchet distance is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.stats import checked
from sde_diffusion.system.identity import Component

P = TypeVar("P")


class Metric(Component, ABC, Generic[P], known_as="metric"):
    """Features [N, d] and those of the reference [M, d] -> named values.

    Attributes:
        name: what the config and a result call it. least: fewest features on either side.
    """

    name: str
    least: int = 2
    _known: tuple[Tensor, P] | None = None

    @abstractmethod
    def prepare(self, reference_features: Tensor) -> P:
        """What depends on the reference [M, d] alone; kept until another one comes."""

    @abstractmethod
    def measure(self, features: Tensor, prepared: P) -> dict[str, float]:
        """The values, by name; features float64 [N, d]."""

    @final
    def __call__(self, features: Tensor, reference_features: Tensor) -> dict[str, float]:
        """The values, by name; InputError for too few features, not finite, or of two widths."""
        for key, x in (("samples", features), ("reference", reference_features)):
            if x.ndim != 2 or len(x) < self.least:
                raise InputError(
                    f"{key}: features {tuple(x.shape)}; {self.name} needs [N, d], N >= {self.least}"
                )
        if features.shape[1] != reference_features.shape[1]:
            raise InputError(
                f"reference: has {reference_features.shape[1]} features, the images "
                f"{features.shape[1]}; use one extractor for both"
            )
        if self._known is None or self._known[0] is not reference_features:
            prepared = self.prepare(checked(reference_features, "reference"))
            self._known = reference_features, prepared
        return self.measure(checked(features, "samples"), self._known[1])


def shuffled(features: Tensor, seed: int) -> Tensor:
    """The rows in an order that is fixed, and free of that in which they came (by class, say)."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return features[order]


def drawn(features: Tensor, most: int) -> Tensor:
    """All rows, or ``most`` of them, drawn at random and always alike."""
    return features if len(features) <= most else shuffled(features, 0)[:most]
