"""A residual multilayer perceptron, for data that are vectors."""

from __future__ import annotations

from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.embeddings import Embedded, positional
from sde_diffusion.networks.layers.norms import zero_init
from sde_diffusion.networks.registry import register


class MLPBlock(nn.Module):
    """h + W_2 silu(norm(W_1 silu(norm(h))) (1 + scale(e)) + shift(e)), W_2 = 0 at the start.

    h [N, width]; the embedding e [N, E] scales and shifts each feature (FiLM, arXiv:1709.07871).
    """

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(width)
        self.linear_in = nn.Linear(width, width)
        self.affine = nn.Linear(embedding, 2 * width)
        self.norm_out = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.linear_out = zero_init(nn.Linear(width, width))

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        y = self.linear_in(nn.functional.silu(self.norm_in(h)))
        scale, shift = self.affine(emb).chunk(2, dim=1)
        y = nn.functional.silu(self.norm_out(y) * (1 + scale) + shift)
        return h + self.linear_out(self.dropout(y))


@register("mlp")
class MLP(Embedded):
    """Score network F(x, c_noise, cond) for vectors x [N, d].

    Args:
        channels: d, the length of a vector (the first side of the data's shape, as for images).
        width: features of each layer.
        blocks: residual blocks.
        embedding: width of the noise and class embedding.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within residual blocks.
        augment: number of augmentation labels, 0 for none.

    InputError, naming the argument, for sizes that make no network or data that are no vectors.
    """

    def __init__(
        self,
        channels: int = 2,
        width: int = 256,
        blocks: int = 4,
        embedding: int = 256,
        classes: int = 0,
        dropout: float = 0.0,
        augment: int = 0,
    ) -> None:
        checks.common(channels, embedding, classes, dropout, augment)
        checks.within({"width": (width, *checks.WIDTH), "blocks": (blocks, 1, 256)})
        super().__init__(embedding, positional(), classes, augment)
        self.channels = channels
        self.stem = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(MLPBlock(width, embedding, dropout) for _ in range(blocks))
        self.head_norm = nn.LayerNorm(width)
        self.head = zero_init(nn.Linear(width, channels))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, d], c_noise [N] (log sigma / 4 is about -1.6 .. 1.1) -> [N, d]."""
        if x.shape[1:] != (self.channels,):
            raise InputError(
                f"network.channels={self.channels}: data of shape {tuple(x.shape[1:])}; "
                "network=mlp is for vectors of that length, the others are for images"
            )
        emb = self.embed(x, c_noise, cond)
        h = self.stem(x)
        for block in self.blocks:
            h = block(h, emb)
        return self.head(nn.functional.silu(self.head_norm(h)))
