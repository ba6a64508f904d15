"""From what a user says to the condition of a batch, once a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from sde_diffusion.conditions.condition import Condition


class Conditioner(ABC):
    """Makes conditions for one model.

    Attributes:
        words: the keys it understands, such as ``label`` or ``prompt``.
        classes: how many labels there are; 0 if it knows none.
    """

    words: tuple[str, ...] = ()
    classes: int = 0

    @abstractmethod
    def encode(self, wishes: Mapping[str, Any], seeds: Sequence[int]) -> Condition | None:
        """The condition of images of these ``seeds``; None for none at all.

        Args:
            wishes: values by word, as a user typed them; a word that is not there is not wished.
            seeds: one a row. A wish of one value serves all rows, a list has one a row.

        InputError names the word and a remedy.
        """
