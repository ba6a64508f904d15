"""DiT as published, for the weights of DiT and of SiT: one network, told of its level by each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import AUGMENT, LABEL, Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.dit import DiTBlock, modulate, xavier
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.norms import zero_init
from sde_diffusion.networks.layers.published import Sinusoids, wide
from sde_diffusion.networks.registry import Network, register

FEATURES = 256  # width of the sinusoids, at every width of the network


@register("dit_published")
class PublishedDiT(Network):
    """Score network F(x, c_noise, cond) of Peebles and Xie (arXiv:2212.09748).

    SiT (arXiv:2401.08740) is the same function. Against ``DiT`` there are a learned row for no
    class, sinusoids of a label up to 999, positions that are stored, and 2 C outputs.

    Args:
        channels: image channels C. size: side of the images, to which the positions belong.
        width: features of a token, D; divides by 4 and by ``heads``. depth: blocks.
        heads: attention heads. patch: side of a patch, which divides ``size``.
        ratio: hidden width of a block's MLP over ``width``.
        classes: number of class labels; the table of their rows has one more, for none.
        learned_variance: whether the head has 2 C channels, of which the first C are used.
        augment: number of augmentation labels, added to the embedding; the paper has none.

    InputError, naming the argument, for sizes that make no network; for images of another size.
    """

    positions: Tensor

    def __init__(
        self,
        channels: int = 3,
        size: int = 32,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        patch: int = 2,
        ratio: float = 4.0,
        classes: int = 0,
        learned_variance: bool = True,
        augment: int = 0,
    ) -> None:
        checks.common(channels, width, classes, 0.0, augment)
        checks.within(
            {
                "size": (size, 1, 4096),
                "width": (width, *checks.WIDTH),
                "depth": (depth, 1, 256),
                "heads": (heads, 1, 1024),
                "patch": (patch, 1, 64),
                "ratio": (ratio, 0.25, 64.0),
            }
        )
        checks.flags({"learned_variance": learned_variance})
        if width % 4 or width % heads:
            raise InputError(
                f"network.width={width}: must divide by 4 and by network.heads={heads}"
            )
        if size % patch:
            raise InputError(f"network.size={size}: must divide by network.patch={patch}")
        super().__init__()
        self.channels, self.size, self.patch, self.classes = channels, size, patch, classes
        pixels = channels * patch**2
        self.register_buffer("positions", sinusoids_of_places(size // patch, width))
        self.features = Sinusoids(FEATURES)
        self.embed = nn.ModuleList([nn.Linear(FEATURES, width), nn.Linear(width, width)])
        self.embed_class = nn.Embedding(classes + 1, width)
        self.embed_augment = nn.Linear(augment, width, bias=False) if augment else None
        self.stem = xavier(nn.Linear(pixels, width))
        self.blocks = nn.ModuleList(DiTBlock(width, heads, width, ratio, 0.0) for _ in range(depth))
        self.head_norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.head_modulation = zero_init(nn.Linear(width, 2 * width))
        self.head = zero_init(nn.Linear(width, pixels * (2 if learned_variance else 1)))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] -> [N, C, H, W]."""
        checks.images(x)
        if tuple(x.shape[-2:]) != (self.size, self.size):
            raise InputError(
                f"network.size={self.size}: its positions belong to {self.size} x {self.size}, and "
                f"images are {tuple(x.shape[-2:])}; give images of its size, or train with theirs, "
                f"network.size={x.shape[-1]}"
            )
        first, second = self.embed
        emb = second(F.silu(first(self.features(wide(c_noise)).to(x.dtype))))
        if self.embed_augment is not None and cond is not None and AUGMENT in cond:
            emb = emb + self.embed_augment(cond.parts[AUGMENT].value.to(x.dtype))
        emb = F.silu(emb + self.embed_class(self.rows(cond, x)))
        tokens = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        tokens = self.stem(tokens) + self.positions.to(x.dtype)
        for block in self.blocks:
            tokens = block(tokens, emb)
        tokens = modulate(self.head_norm(tokens), *self.head_modulation(emb).chunk(2, dim=1))
        side = self.size // self.patch
        image = self.head(tokens).transpose(1, 2).unflatten(2, (side, side))
        return F.pixel_shuffle(image, self.patch)[:, : self.channels]

    def rows(self, cond: Condition | None, x: Tensor) -> Tensor:
        """Row of each image's class in the table, int64 [N]; of no class, the last."""
        none = torch.full((len(x),), self.classes, device=x.device)
        if cond is None or LABEL not in cond or not self.classes:
            return none
        label = cond.parts[LABEL]
        return torch.where(label.keep, label.value, none)


def sinusoids_of_places(side: int, width: int) -> Tensor:
    """Sines and cosines of column and then of row, D/4 of each: [side^2, D]."""
    quarter = width // 4
    angles = torch.outer(
        torch.arange(side, dtype=torch.float64),
        10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter),
    )
    one = torch.cat([angles.sin(), angles.cos()], dim=1)
    column, row = one[None].expand(side, -1, -1), one[:, None].expand(-1, side, -1)
    return torch.cat([column, row], dim=2).flatten(0, 1).float()
