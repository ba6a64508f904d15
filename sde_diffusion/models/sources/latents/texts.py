"""How each pipeline joins its text encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sde_diffusion.conditions.encoded import SentenceEncoder, shortened
from sde_diffusion.errors import InputError


class TextReader(NamedTuple):
    """A tokenizer with its encoder; ``length``: tokens of a text, the marks among them."""

    tokenizer: Any
    model: Any
    length: int

    def tokens(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """input_ids and attention_mask [N, L]; InputError for a text that is cut."""
        for text in texts:
            count = len(self.tokenizer(text, truncation=False).input_ids)
            if count > self.length:
                raise InputError(
                    f'"{shortened(text)}": {count} tokens; this model reads {self.length} at most, '
                    "shorten it"
                )
        tokens: Mapping[str, Tensor] = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return tokens

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], masked: bool = False, layers: bool = False) -> Any:
        """The encoder's answer; ``masked``: it is told which tokens are padding."""
        tokens = self.tokens(texts)
        mask = tokens["attention_mask"] if masked else None
        more = {"output_hidden_states": True} if layers else {}
        return self.model(tokens["input_ids"], attention_mask=mask, **more)


@final
class LastLayer(SentenceEncoder):
    """Stable Diffusion 1 and 2: the last hidden state, normalised."""

    def __init__(self, clip: TextReader) -> None:
        self.clip = clip
        self.masked = bool(getattr(clip.model.config, "use_attention_mask", False))

    def encode(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        return {"value": self.clip(texts, self.masked)[0]}


@final
class TwoEncoders(SentenceEncoder):
    """SDXL: the last hidden state but one of two encoders side by side, and the second's pooled.

    ``zeros``: no negative prompt is zeros, not the empty sentence.
    """

    def __init__(self, first: TextReader, second: TextReader, zeros: bool) -> None:
        self.first, self.second, self.zeros = first, second, zeros

    def encode(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        one, two = self.first(texts, layers=True), self.second(texts, layers=True)
        value = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        return {"value": value, "pooled": two[0]}

    def nothing(self) -> Mapping[str, Tensor] | None:
        if not self.zeros:
            return None
        return {name: torch.zeros_like(each) for name, each in self.encode([""]).items()}


@final
class Triple(SentenceEncoder):
    """SD3: two of CLIP side by side, padded to T5's width, before T5's tokens; both pooled.

    ``width``: of the network's features; without a T5 its tokens are zeros.
    """

    def __init__(
        self, first: TextReader, second: TextReader, t5: TextReader | None, width: int
    ) -> None:
        self.first, self.second, self.t5, self.width = first, second, t5, width

    def encode(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        one, two = self.first(texts, layers=True), self.second(texts, layers=True)
        clip = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        clip = functional.pad(clip, (0, self.width - clip.shape[-1]))
        if self.t5 is None:
            t5 = clip.new_zeros(len(texts), T5_LENGTHS["sd3"], self.width)
        else:
            t5 = self.t5(texts)[0]
        return {"value": torch.cat([clip, t5], dim=1), "pooled": torch.cat([one[0], two[0]], -1)}


@final
class PooledAndTokens(SentenceEncoder):
    """Flux: CLIP's pooled vector, and T5's tokens."""

    def __init__(self, clip: TextReader, t5: TextReader) -> None:
        self.clip, self.t5 = clip, t5

    def encode(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        return {"value": self.t5(texts)[0], "pooled": self.clip(texts).pooler_output}


@final
class Masked(SentenceEncoder):
    """PixArt: T5's tokens and which of them are padding, of the text in small letters."""

    def __init__(self, t5: TextReader) -> None:
        self.t5 = t5

    def encode(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        plain = [text.lower().strip() for text in texts]
        mask = self.t5.tokens(plain)["attention_mask"]
        return {"value": self.t5(plain, masked=True)[0], "mask": mask}


# Tokens of a text that each pipeline gives to T5.
T5_LENGTHS = {"sd3": 256, "flux": 512, "pixart": 120, "sigma": 300}
