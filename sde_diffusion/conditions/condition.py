"""What an image is conditioned on: one object that every layer passes on unread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """A batch of conditions, opaque to everything but the network that reads it.

    ``values[name]`` is a tensor [N, ...] (``label``: int64 [N]; text tokens, layout maps and
    reference images take other names). ``keep`` is a bool tensor [N]: False marks a row whose
    condition is dropped, which is what a network was shown during label dropout and what
    classifier-free guidance asks for (Ho & Salimans 2022, arXiv:2207.12598).
    """

    keep: Tensor
    values: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def label(cls, labels: Tensor | Sequence[int]) -> Condition:
        """Class labels, int64 [N]; a negative label means *no condition* for that row."""
        label = torch.as_tensor(labels, dtype=torch.int64)
        return cls(keep=label >= 0, values={"label": label.clamp_min(0)})

    def __len__(self) -> int:
        return self.keep.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Condition:
        return Condition(self.keep[rows], {k: v[rows] for k, v in self.values.items()})

    def dropped(self, where: Tensor | None = None) -> Condition:
        """The same rows with the condition dropped, everywhere or where the bool mask [N] says."""
        keep = torch.zeros_like(self.keep) if where is None else self.keep & ~where
        return Condition(keep, self.values)

    def to(self, device: torch.device | str) -> Condition:
        return Condition(self.keep.to(device), {k: v.to(device) for k, v in self.values.items()})

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """The batches one after the other; all parts must hold the same names."""
        names = parts[0].values.keys()
        return Condition(
            torch.cat([p.keep for p in parts]),
            {name: torch.cat([p.values[name] for p in parts]) for name in names},
        )
