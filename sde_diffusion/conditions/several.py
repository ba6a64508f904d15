"""Several conditions of one model, and what guidance leads away from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch

from sde_diffusion.conditions.condition import TEXT, Condition, Part
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.labels import Labels
from sde_diffusion.conditions.layout import Layout
from sde_diffusion.conditions.reference import ReferencePatch
from sde_diffusion.conditions.text import PROMPT, Text
from sde_diffusion.errors import InputError

NEGATIVE = "negative"


@final
class Several(Conditioner):
    """The parts of all, each where it is wished.

    ``negative="a circle"`` puts a sentence on the side that guidance leads away from, in the place
    of nothing; layouts and references stand on the other side alone.

    Args:
        labels, text: of the model. others: what else it knows.
    """

    def __init__(self, labels: Labels, text: Text | None, others: Sequence[Conditioner]) -> None:
        self.text, self.classes = text, labels.classes
        self.each = [labels, *([] if text is None else [text]), *others]
        self.words = tuple(word for one in self.each for word in one.words)
        self.words += () if text is None else (NEGATIVE,)

    @classmethod
    def of(cls, labels: Labels, described: Mapping[str, Any]) -> Conditioner:
        """What a checkpoint describes: see ``Spec.conditions``."""
        text, others = None, list[Conditioner]()
        for name, facts in described.items():
            if name == TEXT:
                text = Text(facts["words"], facts["length"])
            elif name in Layout.words:
                _, height, width = facts["shape"]
                others.append(Layout(facts["shapes"], facts["colours"], (height, width)))
            elif name in ReferencePatch.words:
                _, height, width = facts["shape"]
                others.append(ReferencePatch((height, width)))
        return cls(labels, text, others) if described else labels

    def encode(self, wishes: Mapping[str, Any], seeds: Sequence[int]) -> Condition | None:
        conditions = [one.encode(wishes, seeds) for one in self.each]
        parts = {name: part for cond in conditions if cond for name, part in cond.parts.items()}
        if self.text is None or wishes.get(NEGATIVE) is None:
            return Condition(parts) if parts else None
        try:
            away = self.text.encode({PROMPT: wishes[NEGATIVE]}, seeds)
        except InputError as error:
            raise InputError(str(error).replace(PROMPT, NEGATIVE, 1)) from error
        assert away is not None
        if TEXT not in parts:
            nothing = torch.zeros_like(away.parts[TEXT].keep)
            parts[TEXT] = replace(away.parts[TEXT], keep=nothing)
        condition = Condition(parts)
        other: dict[str, Part] = {**condition.dropped().parts, TEXT: away.parts[TEXT]}
        return replace(condition, other=Condition(other))
