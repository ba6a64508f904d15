"""The parts of a U-Net: residual block, halving, doubling; each takes (x, context)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.networks.layers.attention import Attention
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.norms import group_norm, scaled, zero_init


class ResidualBlock(nn.Module):
    """conv(silu(norm(.))) twice, the embedding between, and perhaps attention after.

    The embedding e [N, E] enters as y = norm(y) (1 + scale) + shift (ADM, arXiv:2105.05233), or,
    without ``scale_shift``, as y = norm(y + shift) (DDPM++, arXiv:2011.13456). ``resample`` halves
    or doubles both branches before their convolutions. With ``balanced`` the two are added as
    (skip + y) / sqrt 2, which keeps their variance, and a resampled skip is projected (DDPM++).
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        c_emb: int,
        dropout: float,
        head_width: int | None = None,
        resample: nn.Module | None = None,
        scale_shift: bool = True,
        balanced: bool = False,
        token_width: int = 0,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.gain = 0.5**0.5 if balanced else 1.0
        self.resample = resample or nn.Identity()
        self.norm_in = group_norm(c_in)
        self.conv_in = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.affine = nn.Linear(c_emb, 2 * c_out if scale_shift else c_out)
        self.norm_out = group_norm(c_out)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zero_init(nn.Conv2d(c_out, c_out, 3, padding=1))
        same = c_in == c_out and not (balanced and resample is not None)
        self.skip = nn.Identity() if same else nn.Conv2d(c_in, c_out, 1)
        self.attention = (
            Attention(c_out, head_width, self.gain, token_width) if head_width else Untouched()
        )

    def forward(self, x: Tensor, context: Context) -> Tensor:
        y = self.conv_in(self.resample(F.silu(self.norm_in(x))))
        change = self.affine(context.embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = change.chunk(2, dim=1)
            y = self.norm_out(y) * (1 + scale) + shift
        else:
            y = self.norm_out(y + change)
        y = self.conv_out(self.dropout(F.silu(y)))
        return self.attention(scaled(self.skip(self.resample(x)) + y, self.gain), context)


# The classes below are layers of torch (the names of trained weights say so) with the call of a
# block: their signature is not their base's.


class Untouched(nn.Identity):
    """x itself, where others attend."""

    def forward(self, x: Tensor, context: Context) -> Tensor:  # type: ignore[override]
        return x


class Reduce(nn.Conv2d):
    """A 3 x 3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class Aside(nn.Sequential):
    """Layers that are not told the context."""

    def forward(self, x: Tensor, context: Context) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def enlarge(channels: int) -> Aside:
    """Twice the size by repetition, and a 3 x 3 convolution."""
    return Aside(nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1))


class BlockChain(nn.Sequential):
    """Blocks one after the other, all told the same context."""

    def forward(self, x: Tensor, context: Context) -> Tensor:  # type: ignore[override]
        for block in self:
            x = block(x, context)
        return x
