"""Blocks at the resolution of the picture, behind a body that works on its patches."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.kit import Kit

BLOCKS = 2


class Detail(nn.Module):
    """What a picture needs beyond its body's patches [N, C, H, W], 0 at the start of training.

    A body whose stem is p x p patches must carry all p^2 C numbers of a patch through its features.
    Here they are seen again as they are: y = conv(x) + shuffle(W h), two residual blocks, a head.

    Args:
        kit: of the layers. channels: C. features: of the body's last resolution.
        width: features of a pixel.
        patch: p.
    """

    def __init__(self, kit: Kit, channels: int, features: int, width: int, patch: int) -> None:
        super().__init__()
        self.kit, self.patch = kit, patch
        self.stem = kit.stem(channels, width)
        self.lift = kit.stem(features, width * patch**2)
        self.blocks = nn.ModuleList(kit.block(width, width) for _ in range(BLOCKS))
        self.head_norm = kit.head_norm(width)
        self.head = kit.head(width, channels)

    def forward(self, x: Tensor, features: Tensor, context: Context) -> Tensor:
        """x [N, C, H, W], features [N, F, H/p, W/p] -> [N, C, H, W]."""
        y = self.kit.add(self.stem(x), F.pixel_shuffle(self.lift(features), self.patch))
        for block in self.blocks:
            y = block(y, context)
        return self.head(self.head_norm(y))
