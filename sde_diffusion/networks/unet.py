"""The U-Net: residual blocks, self-attention, labels; ADM, DDPM++ and EDM2 by its options."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers import magnitude as mp
from sde_diffusion.networks.layers.blocks import Aside, ResidualBlock
from sde_diffusion.networks.layers.embeddings import EmbeddingLayers, positional
from sde_diffusion.networks.layers.resampling import check_filter
from sde_diffusion.networks.layers.side import side_inputs
from sde_diffusion.networks.registry import register
from sde_diffusion.networks.ushape import Layers, UShape


@register("unet")
class UNet(UShape):
    """Score network F(x, c_noise, cond) for images; its body is ``UShape``.

    Args:
        channels: image channels C.
        widths: feature channels of each resolution, finest first.
        blocks: residual blocks a resolution (one more on the way up).
        attention: indices into ``widths`` of the resolutions with self-attention.
        patch: p of the space-to-depth stem; H and W must divide by p 2^(len(widths) - 1).
        embedding: width of the noise and class embedding.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within residual blocks.
        augment: number of augmentation labels, 0 for none.
        head_width: channels of an attention head (ADM: 64; DDPM++: all, as one head).
        attention_up: attention after each block on the way up, else after a resolution's last.
        middle: whether each block in the middle has attention; null: one block, as the coarsest
            resolution. ADM and DDPM++: [true, false].
        scale_shift: the embedding scales and shifts (ADM), else it shifts (DDPM++).
        skip_scaling: residual sums divided by sqrt 2, resampled skips projected (DDPM++).
        resample: filter with which blocks halve and double images, [1,1] for ADM and DDPM++;
            null: strided convolutions between the blocks.
        magnitude_preserving: no norms and biases, weights of unit norm (EDM2, arXiv:2312.02696);
            its blocks know neither ``skip_scaling`` nor a shift.
        text: how many words there are, with none, and in a sentence at most; [] for no text.
        layout: how many numbers each plane of a layout has; [] for no layout.
        reference: side of a reference patch, 0 for none.
        coordinates: the stem also sees where each position is, so that words can say places
            (CoordConv, arXiv:1807.03247).
        text_width, text_depth: of the transformer that reads words; its tokens, and that of the
            patch, are seen wherever there is attention.

    InputError, naming the argument, for sizes that make no network or do not divide an image.
    Sources: ADM, arXiv:2105.05233; DDPM++, arXiv:2011.13456; both as in EDM, arXiv:2206.00364.
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (64, 128),
        blocks: int = 2,
        attention: Sequence[int] = (1,),
        patch: int = 2,
        embedding: int = 256,
        classes: int = 0,
        dropout: float = 0.0,
        augment: int = 0,
        head_width: int = 32,
        attention_up: bool = True,
        middle: Sequence[bool] | None = None,
        scale_shift: bool = True,
        skip_scaling: bool = False,
        resample: Sequence[int] | None = None,
        magnitude_preserving: bool = False,
        text: Sequence[int] = (),
        layout: Sequence[int] = (),
        reference: int = 0,
        text_width: int = 128,
        text_depth: int = 2,
        coordinates: bool = False,
    ) -> None:
        checks.common(channels, embedding, classes, dropout, augment)
        checks.resolutions(widths, attention)
        checks.body(blocks, patch, head_width)
        checks.flags(
            {
                "attention_up": attention_up,
                "scale_shift": scale_shift,
                "skip_scaling": skip_scaling,
                "magnitude_preserving": magnitude_preserving,
                "coordinates": coordinates,
                **{f"middle[{i}]": attend for i, attend in enumerate((middle or ())[:9])},
            }
        )
        if middle is not None:
            checks.within({"middle (its length)": (len(middle), 1, 8)})
        if resample is not None:
            check_filter(resample)
        checks.side(text, layout, reference, text_width, text_depth)
        seen = text_width if text or reference else 0
        layers = _layers(embedding, dropout, scale_shift, skip_scaling, magnitude_preserving, seen)
        encoders = side_inputs(
            text, layout, reference, channels=channels, widths=widths, patch=patch,
            text_width=text_width, text_depth=text_depth, embedding=embedding,
        )  # fmt: skip
        super().__init__(
            layers,
            embedding,
            positional(),
            classes,
            augment,
            channels=channels,
            widths=widths,
            blocks=blocks,
            attention=attention,
            head_width=head_width,
            patch=patch,
            resample=resample,
            attention_up=attention_up,
            middle=middle,
            coordinates=coordinates,
            side=encoders if len(encoders) else None,
        )


def _layers(
    embedding: int,
    dropout: float,
    scale_shift: bool,
    skip_scaling: bool,
    magnitude_preserving: bool,
    token_width: int,
) -> Layers:
    """The layers that the switches ask for; InputError where two of them do not go together."""
    if not magnitude_preserving:
        block = partial(
            ResidualBlock,
            c_emb=embedding,
            dropout=dropout,
            scale_shift=scale_shift,
            balanced=skip_scaling,
            token_width=token_width,
        )
        return Layers(block, block)
    if skip_scaling or not scale_shift:
        raise InputError(
            "network.magnitude_preserving=True: its blocks have their own sums and "
            "scales; give skip_scaling=false scale_shift=true"
        )
    if token_width:
        raise InputError(
            "network.magnitude_preserving=True: its attention sees no text and no "
            "reference; give magnitude_preserving=false, or data.given=[]"
        )
    up = partial(mp.MPBlock, c_emb=embedding, dropout=dropout)
    conv = partial(mp.MPConv, kernel=3)
    return Layers(
        down=partial(up, encoder=True),
        up=up,
        stem=mp.MPStem,
        head=lambda c_in, c_out: mp.Gained(conv(c_in, c_out)),
        reduce=lambda c: Aside(conv(c, c, stride=2)),
        enlarge=lambda c: Aside(nn.Upsample(scale_factor=2), conv(c, c)),
        norm=nn.Identity,
        cat=mp.mp_cat,
        embedding=EmbeddingLayers(
            noise=mp.NoiseMap,
            table=mp.MPTable,
            labels=lambda k, width: mp.Gained(mp.MPLinear(k, width)),
            merge=partial(mp.mp_sum, t=0.5),
            activation=mp.mp_silu,
        ),
    )
