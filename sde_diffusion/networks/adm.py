"""ADM as published: the U-Net of guided-diffusion and of EDM at 64 px, for their weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import AUGMENT, LABEL, Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.blocks import Reduce, ResidualBlock, enlarge
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.published import PublishedUNet, Sinusoids, wide
from sde_diffusion.networks.layers.resampling import Down, Up
from sde_diffusion.networks.registry import register


@register("adm")
class ADM(PublishedUNet):
    """Score network F(x, c_noise, cond) of Dhariwal and Nichol (arXiv:2105.05233).

    The class joins the embedding *after* the map. Weights are equal to the published function.

    Args:
        channels: image channels C.
        noise: width of the noise features, the paper's model_channels.
        widths: feature channels of each resolution, finest first.
        blocks: residual blocks a resolution (one more on the way up).
        attention: indices into ``widths`` of the resolutions with self-attention.
        embedding: width of the embedding.
        head_width: channels of an attention head; 0: ``heads`` heads at every width.
        heads: see ``head_width``.
        groups: of every group norm; 0: at most 32, of 4 channels at least.
        scale_shift: whether the embedding scales and shifts, or shifts alone.
        block_resample: whether residual blocks halve and double, or convolutions.
        null_class: whether it was trained on images without a class; if not, it needs one always.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within residual blocks.
        augment: number of augmentation labels, 0 for none.
        learned_variance: whether the head has 2 C channels, of which the first C are used.

    InputError, naming the argument, for sizes that make no network or do not divide an image; for a
    row without a class where there is no null class.
    """

    def __init__(
        self,
        channels: int = 3,
        noise: int = 192,
        widths: Sequence[int] = (192, 384, 576, 768),
        blocks: int = 3,
        attention: Sequence[int] = (1, 2, 3),
        embedding: int = 768,
        head_width: int = 64,
        heads: int = 1,
        groups: int = 0,
        scale_shift: bool = True,
        block_resample: bool = True,
        null_class: bool = True,
        classes: int = 0,
        dropout: float = 0.0,
        augment: int = 0,
        learned_variance: bool = False,
    ) -> None:
        checks.common(channels, embedding, classes, dropout, augment)
        checks.resolutions(widths, attention)
        checks.within(
            {
                "noise": (noise, 4, 8192),
                "blocks": (blocks, 1, 64),
                "head_width": (head_width, 0, checks.WIDTH[1]),
                "heads": (heads, 1, 1024),
                "groups": (groups, 0, 1024),
            }
        )
        checks.flags(
            {
                "scale_shift": scale_shift,
                "block_resample": block_resample,
                "null_class": null_class,
                "learned_variance": learned_variance,
            }
        )
        if groups and any(width % groups for width in widths):
            raise InputError(f"network.groups={groups}: network.widths must be multiples of it")

        def block(c_in: int, c_out: int, attends: bool, turn: int) -> nn.Module:
            if turn and not block_resample:
                return Reduce(c_in) if turn < 0 else enlarge(c_in)
            head = (head_width or c_out // heads) if attends else None
            by = (Down if turn < 0 else Up)([1, 1]) if turn else None
            return ResidualBlock(c_in, c_out, embedding, dropout, head, by, scale_shift)

        super().__init__(
            block,
            channels=channels,
            outputs=channels * (2 if learned_variance else 1),
            stem=widths[0],
            widths=widths,
            blocks=blocks,
            attention=attention,
            attention_up=True,
        )
        self.classes, self.null_class = classes, null_class
        self.features = Sinusoids(noise)
        self.embed_class = nn.Embedding(classes, embedding) if classes else None
        self.embed_augment = nn.Linear(augment, noise, bias=False) if augment else None
        self.embed = nn.ModuleList([nn.Linear(noise, embedding), nn.Linear(embedding, embedding)])
        self.fix_norms(1e-5, groups or None)

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] -> [N, C, H, W]."""
        self.check(x)
        emb = self.features(wide(c_noise)).to(x.dtype)
        if self.embed_augment is not None and cond is not None and AUGMENT in cond:
            emb = emb + self.embed_augment(cond.parts[AUGMENT].value.to(x.dtype))
        first, second = self.embed
        emb = second(F.silu(first(emb)))
        if self.embed_class is not None:
            emb = emb + self._class(self.embed_class, cond, emb)
        return self.body(x, Context(F.silu(emb)))

    def _class(self, table: nn.Module, cond: Condition | None, emb: Tensor) -> Tensor:
        """The embedding of each row's class [N, E]; of a row without one 0, or a refusal."""
        needed = InputError(
            f"label: this model knows no absence of a class; give label=0 .. {self.classes - 1} "
            "for every image, and no classifier-free guidance"
        )
        if cond is None or LABEL not in cond:
            if not self.null_class:
                raise needed
            return torch.zeros_like(emb)
        label = cond.parts[LABEL]
        if self.null_class:
            return table(label.value).to(emb) * label.keep[:, None]
        if not label.keep.is_cuda and not bool(label.keep.all()):
            raise needed
        # A device is not read: there such a row comes out as no number, never as a wrong picture.
        return torch.where(label.keep[:, None], table(label.value).to(emb), torch.nan)
