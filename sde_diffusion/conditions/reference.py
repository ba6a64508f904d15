"""Reference patches: a small picture of the texture that an object is to wear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch

from sde_diffusion.conditions.condition import REFERENCE, Condition, Part
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.layout import opened


@final
class ReferencePatch(Conditioner):
    """``reference=patch.png``: one patch for all images; the prompt says what is *patterned*.

    Args:
        side: height and width of a patch.
    """

    words = (REFERENCE,)

    def __init__(self, side: tuple[int, int]) -> None:
        self.side = side

    def encode(self, wishes: Mapping[str, Any], seeds: Sequence[int]) -> Condition | None:
        wish = wishes.get(REFERENCE)
        if wish is None:
            return None
        patch = torch.from_numpy(opened(wish, REFERENCE, self.side).copy()).permute(2, 0, 1)
        return Condition({REFERENCE: Part.of(patch.expand(len(seeds), -1, -1, -1))})
