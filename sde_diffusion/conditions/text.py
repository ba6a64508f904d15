"""Sentences as words: numbers in a vocabulary, 0 where a sentence has ended."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import TEXT, Condition, Part
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.errors import InputError

PROMPT = "prompt"
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
SHOWN = 60  # letters of a prompt, or words of a vocabulary, that a message repeats


def words_of(text: str) -> list[str]:
    """The words of a sentence, small letters, without punctuation.

    A letter and its marks are one, in whichever of the two ways of Unicode they are written.
    """
    if text.isascii():
        return WORD.findall(text.lower())
    lowered = unicodedata.normalize("NFC", text.lower())
    # Marks are no letters to a pattern: of many scripts they are the vowels.
    letters = "".join("a" if unicodedata.category(each)[0] == "M" else each for each in lowered)
    return [lowered[slice(*match.span())] for match in WORD.finditer(letters)]


def vocabulary(texts: Sequence[str]) -> tuple[list[str], int]:
    """All words of some sentences, sorted, and the number of words of the longest."""
    split = [words_of(text) for text in texts]
    return sorted({word for words in split for word in words}), max(map(len, split), default=0)


@final
class Text(Conditioner):
    """``prompt="a large red circle"``, or a list of one sentence for each image.

    Args:
        vocabulary: the words 1, 2, ... that the model knows.
        length: how many of them a sentence may have.
    """

    words = (PROMPT,)

    def __init__(self, vocabulary: Sequence[str], length: int) -> None:
        self.vocabulary, self.length = tuple(vocabulary), length
        self._numbers = {word: 1 + i for i, word in enumerate(vocabulary)}

    def encode(self, wishes: Mapping[str, Any], seeds: Sequence[int]) -> Condition | None:
        prompt = wishes.get(PROMPT)
        if prompt is None:
            return None
        if isinstance(prompt, str):
            return self.of(self.tokens([prompt]).expand(len(seeds), -1))
        if not isinstance(prompt, Sequence) or not all(isinstance(text, str) for text in prompt):
            raise InputError(f"{PROMPT}: give a sentence, or a list of one for each image")
        if len(prompt) != len(seeds):
            raise InputError(
                f"{PROMPT}: {len(prompt)} sentences for {len(seeds)} images; give one, or one for "
                "each image"
            )
        return self.of(self.tokens(prompt))

    def of(self, tokens: Tensor) -> Condition:
        """The condition of numbers [N, L]."""
        return Condition({TEXT: Part(tokens, (tokens > 0).any(1))})

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Numbers int64 [N, L] of sentences; InputError names what is wrong with one."""
        rows = torch.zeros(len(texts), self.length, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            words = words_of(text)
            shown = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
            if not words:
                raise InputError(f'{PROMPT}="{shown}": has no words; leave it out for none')
            if len(words) > self.length:
                raise InputError(
                    f'{PROMPT}="{shown}": {len(words)} words; this model reads {self.length} at '
                    "most, shorten it"
                )
            strange = [word for word in words if word not in self._numbers]
            if strange:
                listed = " ".join(self.vocabulary[:SHOWN])
                more = " ..." if len(self.vocabulary) > SHOWN else ""
                raise InputError(
                    f'{PROMPT}="{shown}": this model does not know {", ".join(strange[:5])}; its '
                    f"words are: {listed}{more}"
                )
            row[: len(words)] = torch.tensor([self._numbers[word] for word in words])
        return rows
