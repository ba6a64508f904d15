"""What a batch of images is conditioned on: named parts, opaque to all but the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

# Names of parts that more than one room reads.
LABEL, AUGMENT, MEASUREMENT = "label", "augment", "measurement"
TEXT, LAYOUT, REFERENCE = "text", "layout", "reference"
# How the names begin of what a network's encoders keep beside a part.
ENCODED = "encoded."


@dataclass(frozen=True)
class Part:
    """One condition of each row, as the network reads it.

    Attributes:
        value: [N, ...]: labels int64 [N], features of text [N, L, d], a layout map, ...
        keep: bool [N]; False where the row goes without. That is what a network was shown in
            training where conditions are dropped (Ho & Salimans 2022, arXiv:2207.12598).
        aside: what belongs to the value, each [N, ...]: a mask of valid tokens, a pooled vector.
        fixed: whether it states a fact (what augmentation did, what was measured) and no wish:
            then it is never dropped.
    """

    value: Tensor
    keep: Tensor
    aside: Mapping[str, Tensor] = field(default_factory=dict)
    fixed: bool = False

    @classmethod
    def of(cls, value: Tensor, fixed: bool = False, **aside: Tensor) -> Part:
        """A part that every row keeps."""
        keep = torch.ones(len(value), dtype=torch.bool, device=value.device)
        return cls(value, keep, aside, fixed)

    def dropped(self, where: Tensor | None = None) -> Part:
        """The same with no row kept, or none of those that the bool mask [N] names."""
        if self.fixed:
            return self
        keep = torch.zeros_like(self.keep) if where is None else self.keep & ~where
        return replace(self, keep=keep)

    def each(self, change: Callable[[Tensor], Tensor]) -> Part:
        """``change`` of every tensor."""
        aside = {name: change(tensor) for name, tensor in self.aside.items()}
        return replace(self, value=change(self.value), keep=change(self.keep), aside=aside)


@dataclass(frozen=True)
class Condition:
    """The conditions of a batch of N rows, by name: ``cond.parts["label"].value``.

    ``other`` is the side that guidance leads away from, where it is something of its own (a
    negative prompt, another class); it goes wherever the condition goes.

    Args:
        parts: by name, one ``Part`` each. other: the empty side; None: the parts dropped.
    """

    parts: Mapping[str, Part]
    other: Condition | None = None

    @classmethod
    def label(cls, labels: Tensor | Sequence[int]) -> Condition:
        """Class labels, int64 [N]; a negative label means *no condition* for that row."""
        label = torch.as_tensor(labels, dtype=torch.int64)
        return cls({LABEL: Part(label.clamp_min(0), label >= 0)})

    @property
    def empty(self) -> Condition:
        """The other side of guidance: ``other``, or else the same rows with all parts dropped."""
        return self.dropped() if self.other is None else self.other

    @property
    def guides(self) -> bool:
        """Whether its other side is another: where all parts state facts, both sides have them."""
        return self.other is not None or any(not part.fixed for part in self.parts.values())

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())).keep)

    def __contains__(self, name: str) -> bool:
        return name in self.parts

    def __getitem__(self, rows: slice | Tensor) -> Condition:
        """Some rows of the batch."""
        return self.each(lambda tensor: tensor[rows])

    def to(self, device: torch.device | str) -> Condition:
        return self.each(lambda tensor: tensor.to(device))

    def each(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """``change`` of every tensor, on both sides."""
        parts = {name: part.each(change) for name, part in self.parts.items()}
        return Condition(parts, None if self.other is None else self.other.each(change))

    def raw(self) -> Condition:
        """The same without what the encoders of one network have made of it."""
        parts = {
            name: replace(
                part, aside={k: v for k, v in part.aside.items() if not k.startswith(ENCODED)}
            )
            for name, part in self.parts.items()
        }
        return Condition(parts, None if self.other is None else self.other.raw())

    def with_part(self, name: str, part: Part) -> Condition:
        """The same with one part more, or in the place of the one that it has."""
        return replace(self, parts={**self.parts, name: part})

    def dropped(self, where: Tensor | None = None, *names: str) -> Condition:
        """The same rows with the named parts, or all, dropped: everywhere, or ``where`` [N] says.

        Parts that state a fact stay.
        """
        parts = {
            name: part.dropped(where) if not names or name in names else part
            for name, part in self.parts.items()
        }
        return Condition(parts)

    @staticmethod
    def cat(batches: Sequence[Condition]) -> Condition:
        """The batches one after the other; all must hold the same parts."""
        first = batches[0]
        if any(batch.parts.keys() != first.parts.keys() for batch in batches):
            raise KeyError(f"conditions of other parts than {sorted(first.parts)}")
        return Condition(
            {name: _cat([batch.parts[name] for batch in batches]) for name in first.parts},
            Condition.cat([batch.empty for batch in batches]) if first.other is not None else None,
        )


def _cat(parts: Sequence[Part]) -> Part:
    first = parts[0]
    aside = {name: torch.cat([part.aside[name] for part in parts]) for name in first.aside}
    value = torch.cat([part.value for part in parts])
    return Part(value, torch.cat([part.keep for part in parts]), aside, first.fixed)
