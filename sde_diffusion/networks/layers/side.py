"""Encoders of side inputs: words, layouts and reference patches, each once a batch.

What an encoder gives is kept beside the part that it was made of, under names that begin with
``encoded.``, and goes wherever the part goes; whether a row keeps the part is asked where it is
used. A dropped part thus adds nothing, exactly as if it had not been given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import ENCODED, LAYOUT, REFERENCE, TEXT, Condition, Part
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.norms import zero_init


class Encoder(nn.Module, ABC):
    """From the value of a part [N, ...] to named tensors [N, ...].

    ``tokens`` [N, T, D] and ``valid`` [N, T] are for attention, ``pooled`` [N, E] joins the
    embedding, ``level0``, ``level1``, ... the features of each resolution.
    """

    @abstractmethod
    def forward(self, value: Tensor) -> dict[str, Tensor]: ...


class WordBlock(nn.Module):
    """x + attention(norm x), then x + mlp(norm x), over the words of a sentence (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_in = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        n, t, d = x.shape
        qkv = self.qkv(self.norm_in(x)).reshape(n, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None])
        x = x + self.out(y.transpose(1, 2).reshape(n, t, d))
        return x + self.mlp(x)


class TextEncoder(Encoder):
    """Words int64 [N, L], 0 for none, through a small transformer.

    Args:
        words: size of the vocabulary, 0 included. length: L. width: D. depth: blocks.
        embedding: E.
    """

    def __init__(self, words: int, length: int, width: int, depth: int, embedding: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.place = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.place, std=0.02)
        self.blocks = nn.ModuleList(WordBlock(width, max(1, width // 32)) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pool = zero_init(nn.Linear(width, embedding))

    def forward(self, value: Tensor) -> dict[str, Tensor]:
        valid = value > 0
        seen = valid.clone()
        seen[:, 0] = True  # attention of no words at all would be none
        x = self.table(value) + self.place[: value.shape[1]]
        for block in self.blocks:
            x = block(x, seen)
        x = self.norm(x)
        weight = valid[..., None].to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1).clamp_min(1)
        return {"tokens": x, "valid": valid, "pooled": self.pool(mean)}


class LayoutEncoder(Encoder):
    """A map of numbers of several kinds, uint8 [N, K, H, W], to features of each resolution.

    Its last convolutions are 0 at the start (ControlNet, arXiv:2302.05543), so that it may also be
    trained beside a network that is there already.

    Args:
        kinds: how many numbers each of the K planes has.
        widths, patch: of the network.
        table: channels of a number.
    """

    def __init__(
        self, kinds: Sequence[int], widths: Sequence[int], patch: int, table: int = 12
    ) -> None:
        super().__init__()
        self.patch = patch
        first = torch.tensor([0, *kinds[:-1]], device="cpu").cumsum(0)
        self.register_buffer("first", first[None, :, None, None], persistent=False)
        self.table = nn.Embedding(sum(kinds), table)
        sizes = [table * patch**2, *widths]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1)
            for i, (a, b) in enumerate(pairwise(sizes))
        )
        # A resolution begins with the channels of the one before it.
        self.outs = nn.ModuleList(
            zero_init(nn.Conv2d(a, b, 1))
            for a, b in zip(widths, [widths[0], *widths], strict=False)
        )

    first: Tensor

    def forward(self, value: Tensor) -> dict[str, Tensor]:
        x = self.table(value.long() + self.first).sum(1).permute(0, 3, 1, 2)
        x = F.pixel_unshuffle(x, self.patch)
        features = {}
        for i, (conv, out) in enumerate(zip(self.convs, self.outs, strict=True)):
            x = F.silu(conv(x))
            features[f"level{i}"] = out(x)
        return features


class PatchEncoder(Encoder):
    """A patch uint8 [N, C, P, P] of a texture, as one token.

    Args:
        channels: C. width: D. embedding: E.
    """

    def __init__(self, channels: int, width: int, embedding: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(channels, 32, 4, stride=2),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2),
            nn.SiLU(),
        )
        self.token = nn.Linear(64, width)
        self.pool = zero_init(nn.Linear(width, embedding))

    def forward(self, value: Tensor) -> dict[str, Tensor]:
        x = value.to(self.token.weight.dtype) / 127.5 - 1
        token = self.token(self.convs(x).mean((2, 3)))
        valid = torch.ones(value.shape[0], 1, dtype=torch.bool, device=value.device)
        return {"tokens": token[:, None], "valid": valid, "pooled": self.pool(F.silu(token))}


class SideInputs(nn.ModuleDict):
    """The encoders of a network by the names of the parts that they read."""

    def encode(self, cond: Condition) -> Condition:
        """The same, with what the encoders make of its parts beside them; once is enough."""
        parts = {name: self._encoded(name, part) for name, part in cond.parts.items()}
        return Condition(parts, None if cond.other is None else self.encode(cond.other))

    def _encoded(self, name: str, part: Part) -> Part:
        if name not in self or any(key.startswith(ENCODED) for key in part.aside):
            return part
        encoded = {ENCODED + key: tensor for key, tensor in self[name](part.value).items()}
        return replace(part, aside={**part.aside, **encoded})

    def pooled(self, cond: Condition) -> Tensor | None:
        """What joins the embedding, [N, E]; None if nothing does."""
        parts = [cond.parts[name] for name in (TEXT, REFERENCE) if name in self and name in cond]
        pooled = [p.aside[ENCODED + "pooled"] * p.keep[:, None] for p in parts]
        return sum(pooled[1:], pooled[0]) if pooled else None

    def context(self, embedding: Tensor, cond: Condition) -> Context:
        """What blocks are told, of an encoded condition."""
        parts = [cond.parts[name] for name in (TEXT, REFERENCE) if name in self and name in cond]
        tokens = [part.aside[ENCODED + "tokens"].to(embedding.dtype) for part in parts]
        masks = [part.aside[ENCODED + "valid"] & part.keep[:, None] for part in parts]
        features: tuple[Tensor, ...] = ()
        if LAYOUT in self and LAYOUT in cond:
            part = cond.parts[LAYOUT]
            keep = part.keep[:, None, None, None]
            levels = range(len(part.aside))
            features = tuple(part.aside[f"{ENCODED}level{i}"] * keep for i in levels)
        if not tokens:
            return Context(embedding, features=features)
        return Context(embedding, torch.cat(tokens, 1), torch.cat(masks, 1), features)


def side_inputs(
    text: Sequence[int],
    layout: Sequence[int],
    reference: int,
    *,
    channels: int,
    widths: Sequence[int],
    patch: int,
    text_width: int,
    text_depth: int,
    embedding: int,
) -> SideInputs:
    """The encoders that a network needs.

    Args:
        text: (words, length), or nothing for a network that reads none. layout: how many numbers
            each of its planes has, or nothing. reference: side of the patch, 0 for none.
        channels, widths, patch: of the network: of its pictures, of its levels, pixels a token.
        text_width, text_depth: of the text's transformer. embedding: width of the noise level's.
    """
    encoders = SideInputs()
    if text:
        encoders[TEXT] = TextEncoder(text[0], text[1], text_width, text_depth, embedding)
    if layout:
        encoders[LAYOUT] = LayoutEncoder(layout, widths, patch)
    if reference:
        encoders[REFERENCE] = PatchEncoder(channels, text_width, embedding)
    return encoders
