"""Sentences as what a pretrained text encoder makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import TEXT, Condition, Part
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.several import NEGATIVE
from sde_diffusion.conditions.text import PROMPT
from sde_diffusion.errors import InputError

EMBEDDED = "embedded_guidance"
SHOWN = 60


class SentenceEncoder(ABC):
    """Texts -> features [N, L, d], with what stands beside them (a pooled vector, a mask)."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``value`` and what is aside, each [N, ...]; InputError for a text that is too long."""

    def nothing(self) -> Mapping[str, Tensor] | None:
        """What stands for no negative prompt, [1, ...]; None: the empty sentence."""
        return None


@final
class Encoded(Conditioner):
    """``prompt="a red cube"``, and ``negative=`` in place of the empty sentence.

    Both are encoded once a call. Guidance leads away from the empty sentence, or what stands for
    it, where no negative is given.

    Args:
        encoder: of the model. distilled: the guidance that its network is told, where it was
            distilled with one; it hears no negative prompt then.
    """

    def __init__(self, encoder: SentenceEncoder, distilled: float | None = None) -> None:
        self.encoder, self.distilled = encoder, distilled
        self.words = (PROMPT, NEGATIVE) + (() if distilled is None else (EMBEDDED,))

    def encode(self, wishes: Mapping[str, Any], seeds: Sequence[int]) -> Condition:
        negative = wishes.get(NEGATIVE)
        if negative is not None and self.distilled is not None:
            raise InputError(
                f"{NEGATIVE}={negative}: this model was distilled with its guidance, so nothing "
                f"leads away from a prompt; leave it out, and set {EMBEDDED}={self.distilled:g}"
            )
        parts = {TEXT: self._part(PROMPT, wishes.get(PROMPT), seeds)}
        other = {TEXT: self._part(NEGATIVE, negative, seeds)}
        if self.distilled is not None:
            scale = _number(wishes.get(EMBEDDED), self.distilled)
            each = Part.of(torch.full((len(seeds),), scale), fixed=True)
            parts[EMBEDDED], other[EMBEDDED] = each, each
        return Condition(parts, Condition(other))

    def _part(self, key: str, wish: Any, seeds: Sequence[int]) -> Part:
        nothing = self.encoder.nothing() if wish is None and key == NEGATIVE else None
        if nothing is not None:
            encoded, rows = dict(nothing), torch.zeros(len(seeds), dtype=torch.int64)
        else:
            texts = _texts(key, wish, len(seeds))
            unique = list(dict.fromkeys(texts))
            try:
                encoded = dict(self.encoder.encode(unique))
            except InputError as error:
                raise InputError(f"{key}={error}") from error
            rows = torch.tensor([unique.index(text) for text in texts])
        each = {name: tensor[rows] for name, tensor in encoded.items()}
        value = each.pop("value")
        return Part(value, torch.ones(len(seeds), dtype=torch.bool), each)


def _texts(key: str, wish: Any, count: int) -> list[str]:
    """One a row; of no wish the empty sentence."""
    if wish is None or isinstance(wish, str):
        return [wish or ""] * count
    if not isinstance(wish, Sequence) or not all(isinstance(text, str) for text in wish):
        raise InputError(f"{key}: give a sentence, or a list of one for each image")
    if len(wish) != count:
        raise InputError(
            f"{key}: {len(wish)} sentences for {count} images; give one, or one for each image"
        )
    return list(wish)


def _number(wish: Any, usual: float) -> float:
    if wish is None:
        return usual
    if isinstance(wish, bool) or not isinstance(wish, int | float) or not 0 <= wish <= 1000:
        raise InputError(f"{EMBEDDED}={wish}: give a number from 0 to 1000, such as {usual:g}")
    return float(wish)


def shortened(text: str) -> str:
    """A sentence as a message repeats it."""
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
