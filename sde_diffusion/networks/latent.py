"""The networks of latent pipelines, each called as its pipeline calls it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sde_diffusion.conditions.condition import TEXT, Condition
from sde_diffusion.errors import InputError

GUIDANCE = "embedded_guidance"


class LatentNetwork(nn.Module, ABC):
    """F(x, label, cond) of a network of diffusers; the variance it may predict is left out.

    Args:
        network: of diffusers. factor: pixels a side of a latent's.
    """

    def __init__(self, network: nn.Module, factor: int) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """Latents x [N, C, H, W], c_noise [N] -> [N, C, H, W]."""
        if cond is None:
            raise InputError('prompt: this model reads a text; give prompt="..."')
        text = cond.parts[TEXT]
        aside = {name: value.to(x.device) for name, value in text.aside.items()}
        features = text.value.to(x.device, x.dtype)
        return self.asked(x, c_noise, features, aside, cond)[:, : x.shape[1]]

    @abstractmethod
    def asked(
        self, x: Tensor, t: Tensor, text: Tensor, aside: dict[str, Tensor], cond: Condition
    ) -> Tensor:
        """The network's answer to features of the text [N, L, d]."""

    def _answer(self, *args: Any, **inputs: Any) -> Tensor:
        answer: Tensor = self.network(*args, return_dict=False, **inputs)[0]
        return answer


@final
class TextUNet(LatentNetwork):
    """``UNet2DConditionModel``; told the size of the picture too where a pooled text is read, and
    its guidance where it was distilled with one."""

    def asked(
        self, x: Tensor, t: Tensor, text: Tensor, aside: dict[str, Tensor], cond: Condition
    ) -> Tensor:
        config: Any = self.network.config
        width = config.time_cond_proj_dim
        beside = {}
        if width is not None:
            w = cond.parts[GUIDANCE].value.to(x.device)
            beside["timestep_cond"] = waves(w - 1, width).to(x.dtype)
        if "pooled" not in aside:
            return self._answer(x, t, text, **beside)
        height, width = (self.factor * side for side in x.shape[-2:])
        # Original size, corner of the crop, target size.
        sizes = torch.tensor([height, width, 0, 0, height, width], device=x.device, dtype=x.dtype)
        added = {"text_embeds": aside["pooled"].to(x.dtype), "time_ids": sizes.expand(len(x), -1)}
        return self._answer(x, t, text, added_cond_kwargs=added, **beside)


@final
class SD3(LatentNetwork):
    """``SD3Transformer2DModel``."""

    def asked(
        self, x: Tensor, t: Tensor, text: Tensor, aside: dict[str, Tensor], cond: Condition
    ) -> Tensor:
        pooled = aside["pooled"].to(x.dtype)
        return self._answer(x, text, pooled_projections=pooled, timestep=t)


@final
class Flux(LatentNetwork):
    """``FluxTransformer2DModel``: patches of 2 x 2 latents as tokens, told where each stands."""

    def asked(
        self, x: Tensor, t: Tensor, text: Tensor, aside: dict[str, Tensor], cond: Condition
    ) -> Tensor:
        height, width = x.shape[-2] // 2, x.shape[-1] // 2
        places = torch.zeros(height, width, 3, device=x.device, dtype=x.dtype)
        places[..., 1] += torch.arange(height, device=x.device)[:, None]
        places[..., 2] += torch.arange(width, device=x.device)[None]
        scale = cond.parts[GUIDANCE].value.to(x) if GUIDANCE in cond.parts else None
        tokens = self._answer(
            packed(x),
            timestep=t / 1000,
            guidance=scale,
            pooled_projections=aside["pooled"].to(x.dtype),
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, device=x.device, dtype=x.dtype),
            img_ids=places.reshape(-1, 3),
        )
        return unpacked(tokens, height, width)


@final
class PixArt(LatentNetwork):
    """``PixArtTransformer2DModel``; told the size of the picture where it was trained with it."""

    def asked(
        self, x: Tensor, t: Tensor, text: Tensor, aside: dict[str, Tensor], cond: Condition
    ) -> Tensor:
        added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        config: Any = self.network.config
        if config.sample_size == 128:
            sides = torch.tensor([self.factor * side for side in x.shape[-2:]]).to(x)
            added["resolution"] = sides.expand(len(x), -1)
            added["aspect_ratio"] = (sides[0] / sides[1]).expand(len(x), 1)
        return self._answer(
            x,
            encoder_hidden_states=text,
            encoder_attention_mask=aside["mask"],
            timestep=t,
            added_cond_kwargs=added,
        )


def waves(w: Tensor, width: int) -> Tensor:
    """sin and cos of 1000 w at frequencies 1 .. 1e-4, float32 [N, width], as LCM is told w."""
    half = width // 2
    at = 1000 * w.float()[:, None] * torch.logspace(0, -4, half, device=w.device)
    return F.pad(torch.cat([at.sin(), at.cos()], 1), (0, width % 2))


def packed(x: Tensor) -> Tensor:
    """[N, C, 2 h, 2 w] -> tokens [N, h w, 4 C], rows of patches first."""
    n, c, height, width = x.shape
    patches = x.reshape(n, c, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, 4 * c)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens [N, h w, 4 C] -> [N, C, 2 h, 2 w]."""
    n, _, wide = tokens.shape
    patches = tokens.reshape(n, height, width, wide // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(n, wide // 4, 2 * height, 2 * width)
