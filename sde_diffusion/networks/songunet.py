"""DDPM++ and NCSN++ as published: the U-Net of score_sde and of EDM, for their weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import AUGMENT, Condition
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.blocks import ResidualBlock
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.published import (
    DrawnFourier,
    PublishedUNet,
    Sinusoids,
    one_hot,
    wide,
)
from sde_diffusion.networks.layers.resampling import Down, Up, check_filter
from sde_diffusion.networks.registry import register
from sde_diffusion.system.spelling import none_of

ENCODERS, DECODERS = ("standard", "residual", "skip"), ("standard", "skip")


class FilteredConv(nn.Conv2d):
    """A 3 x 3 convolution, then the filter, then every second row and column, padded once.

    [N, C, H, W] -> [N, C', H/2, W/2]. The order matters at the border alone.
    """

    def __init__(self, c_in: int, c_out: int, taps: Sequence[int]) -> None:
        margin = 1 + (len(taps) - 1) // 2
        super().__init__(c_in, c_out, 3, padding=margin)
        self.filter = Down(taps)
        self.filter.padding = 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.filter(F.conv2d(x, self.weight, None, padding=self.padding))
        assert self.bias is not None
        return y + self.bias[:, None, None]


@register("songunet")
class SongUNet(PublishedUNet):
    """F(x, c_noise, cond) of Song et al. (arXiv:2011.13456, appendix H), as EDM has it.

    DDPM++ is ``fourier`` false, ``resample`` [1, 1] and both ways standard; NCSN++ is ``fourier``
    true, ``resample`` [1, 3, 3, 1] and ``encoder`` residual. Class and augmentation labels join the
    noise features *before* the map. Weights of either family are equal to the published function.

    Args:
        channels: image channels C.
        stem: width of the first convolution.
        widths: feature channels of each resolution, finest first.
        blocks: residual blocks a resolution (one more on the way up).
        attention: indices into ``widths`` of the resolutions with self-attention.
        noise: width of the noise features.
        embedding: width of the embedding.
        fourier: drawn and stored Fourier frequencies, or sinusoids 1 .. 1/10000.
        encoder, decoder: how the image itself goes down (standard: not at all), and the picture up.
        resample: the filter.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within residual blocks.
        augment: number of augmentation labels, 0 for none.
        learned_variance: whether the head has 2 C channels, of which the first C are used.

    InputError, naming the argument, for sizes that make no network or do not divide an image.
    """

    def __init__(
        self,
        channels: int = 3,
        stem: int = 128,
        widths: Sequence[int] = (256, 256, 256),
        blocks: int = 4,
        attention: Sequence[int] = (1,),
        noise: int = 128,
        embedding: int = 512,
        fourier: bool = False,
        encoder: str = "standard",
        decoder: str = "standard",
        resample: Sequence[int] = (1, 1),
        classes: int = 0,
        dropout: float = 0.0,
        augment: int = 0,
        learned_variance: bool = False,
    ) -> None:
        checks.common(channels, embedding, classes, dropout, augment)
        checks.resolutions(widths, attention)
        checks.within(
            {"stem": (stem, *checks.WIDTH), "blocks": (blocks, 1, 64), "noise": (noise, 4, 8192)}
        )
        checks.flags({"fourier": fourier, "learned_variance": learned_variance})
        for name, value, choices in (
            ("encoder", encoder, ENCODERS),
            ("decoder", decoder, DECODERS),
        ):
            if value not in choices:
                raise none_of(f"network.{name}", value, choices)
        check_filter(resample)
        turns = {-1: Down, 1: Up}

        def block(c_in: int, c_out: int, attends: bool, turn: int) -> nn.Module:
            head = c_out if attends else None
            by = turns[turn](resample) if turn else None
            return ResidualBlock(c_in, c_out, embedding, dropout, head, by, False, True)

        outputs = channels * (2 if learned_variance else 1)
        super().__init__(
            block,
            channels=channels,
            outputs=outputs,
            stem=stem,
            widths=widths,
            blocks=blocks,
            attention=attention,
            attention_up=False,
        )
        self.classes = classes
        self.features: nn.Module = (
            DrawnFourier(noise) if fourier else Sinusoids(noise, endpoint=True, sine_first=True)
        )
        self.embed_class = nn.Linear(classes, noise) if classes else None
        self.embed_augment = nn.Linear(augment, noise, bias=False) if augment else None
        self.embed = nn.ModuleList([nn.Linear(noise, embedding), nn.Linear(embedding, embedding)])
        self._add_sides(encoder, decoder, channels, outputs, resample, [stem, *widths])
        self.fix_norms(1e-6)

    def _add_sides(
        self,
        encoder: str,
        decoder: str,
        channels: int,
        outputs: int,
        taps: Sequence[int],
        widths: list[int],
    ) -> None:
        """The way of the image down beside the features, and of the picture up."""
        self.encoder, self.decoder = encoder, decoder
        self.inlets, self.outlets = nn.ModuleList(), nn.ModuleList()
        self.reduce = Down(taps) if encoder == "skip" else nn.Identity()
        self.enlarge = Up(taps) if decoder == "skip" else nn.Identity()
        width = channels
        for c in widths[1:-1]:
            if encoder == "residual":
                self.inlets.append(FilteredConv(width, c, taps))
                width = c
            elif encoder == "skip":
                self.inlets.append(nn.Conv2d(channels, c, 1))
        if decoder == "skip":  # the head proper is the last of them
            self.outlets.extend(
                nn.Sequential(
                    nn.GroupNorm(min(32, c // 4), c), nn.SiLU(), nn.Conv2d(c, outputs, 3, padding=1)
                )
                for c in reversed(widths[2:])
            )

    def inlet(self, level: int, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        if self.encoder == "standard":
            return x, image
        inlet = self.inlets[level - 1]
        if self.encoder == "skip":
            image = self.reduce(image)
            return x + inlet(image), image
        x = (x + inlet(image)) * 0.5**0.5
        return x, x

    def outlet(self, stage: int, x: Tensor, picture: Tensor | None) -> Tensor | None:
        if self.decoder == "standard" or stage == len(self.up) - 1:
            last = super().outlet(stage, x, picture)
            if last is None or picture is None:
                return last
            return last + self.enlarge(picture)
        new: Tensor = self.outlets[stage](x)
        return new if picture is None else new + self.enlarge(picture)

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] -> [N, C, H, W]."""
        self.check(x)
        emb = self.features(wide(c_noise)).to(x.dtype)
        if self.embed_class is not None:
            hot = one_hot(cond, len(x), self.classes, x)
            emb = emb + self.embed_class(hot * self.classes**0.5)
        if self.embed_augment is not None and cond is not None and AUGMENT in cond:
            emb = emb + self.embed_augment(cond.parts[AUGMENT].value.to(x.dtype))
        first, second = self.embed
        return self.body(x, Context(F.silu(second(F.silu(first(emb))))))
