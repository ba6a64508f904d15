"""NCSN++: FIR resampling, Fourier noise features, the image itself at every resolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.blocks import ResidualBlock
from sde_diffusion.networks.layers.embeddings import fourier
from sde_diffusion.networks.layers.resampling import check_filter
from sde_diffusion.networks.registry import register
from sde_diffusion.networks.ushape import Layers, UShape


@register("ncsnpp")
class NCSNpp(UShape):
    """Score network F(x, c_noise, cond) for images; its body is ``UShape``.

    What it does not share with DDPM++ (arXiv:2011.13456, appendix H): blocks halve and double
    with an FIR filter, the noise level comes as random Fourier features, and the image, filtered
    down and convolved, is added to the features of each resolution (``residual`` progressive
    input). Sums of two branches are divided by sqrt 2. As in EDM, arXiv:2206.00364.

    Args:
        channels: image channels C.
        widths: feature channels of each resolution, finest first.
        blocks: residual blocks a resolution (one more on the way up).
        attention: indices into ``widths`` of the resolutions with self-attention, after the last
            block alone on the way up.
        patch: p of the space-to-depth stem; H and W must divide by p 2^(len(widths) - 1).
        embedding: width of the noise and class embedding.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within residual blocks.
        augment: number of augmentation labels, 0 for none.
        head_width: channels of an attention head.
        resample: the FIR filter.
        scale: standard deviation of the Fourier frequencies.

    InputError, naming the argument, for sizes that make no network or do not divide an image.
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (128, 128),
        blocks: int = 2,
        attention: Sequence[int] = (1,),
        patch: int = 1,
        embedding: int = 512,
        classes: int = 0,
        dropout: float = 0.0,
        augment: int = 0,
        head_width: int = 256,
        resample: Sequence[int] = (1, 3, 3, 1),
        scale: float = 16.0,
    ) -> None:
        checks.common(channels, embedding, classes, dropout, augment)
        checks.resolutions(widths, attention)
        checks.body(blocks, patch, head_width)
        checks.within({"scale": (scale, 1e-3, 1e3)})
        check_filter(resample)
        block = partial(
            ResidualBlock, c_emb=embedding, dropout=dropout, scale_shift=False, balanced=True
        )
        super().__init__(
            Layers(block, block),
            embedding,
            fourier(scale),
            classes,
            augment,
            channels=channels,
            widths=widths,
            blocks=blocks,
            attention=attention,
            head_width=head_width,
            patch=patch,
            resample=resample,
            attention_up=False,
            middle=[True, False],
            progressive=True,
        )
