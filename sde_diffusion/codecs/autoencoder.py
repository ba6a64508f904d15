"""A variational autoencoder of diffusers between latents and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sde_diffusion.codecs.base import Codec

# Pixels that are encoded at once, of several pictures.
AT_ONCE = 2**18


@final
class Autoencoder(Codec):
    """x = (z - shift) scale, z the autoencoder's own latents; or x = (z - mean) scale / std.

    In float32 whatever the network's dtype is: some overflow in less. An image is encoded to the
    mode of its posterior. ``batch`` pictures at a time are decoded, so that memory does not grow
    with their number, and small ones encoded several at once.

    Attributes:
        latents: channels of a state.

    Args:
        vae: ``AutoencoderKL`` or ``AutoencoderTiny``.
        identity: fingerprint of its weights.
        tiling: decode large pictures in overlapping tiles: less memory, and faint seams.
        batch: pictures at once. files: that its weights are in.
    """

    def __init__(
        self,
        vae: Any,
        identity: str,
        tiling: bool = False,
        batch: int = 1,
        files: tuple[Path, ...] = (),
    ) -> None:
        config = vae.config
        self.vae, self.identity, self.batch, self.files = vae, identity, batch, files
        self.factor = 2 ** (len(config.block_out_channels) - 1)
        self.latents, self.channels = int(config.latent_channels), int(config.out_channels)
        scale = config.get("scaling_factor")
        self.scale = 1.0 if scale is None else float(scale)
        shift = config.get("shift_factor")
        self.mean = _column(config.get("latents_mean"), 0.0 if shift is None else shift)
        self.std = _column(config.get("latents_std"), 1.0)
        self.shifted = bool((self.mean != 0).any() or (self.std != 1).any())
        sides = f"{self.factor} pixels a side of a latent's"
        self.described = f"{type(vae).__name__}, scaling {self.scale:g}, {sides}"
        if tiling:
            vae.enable_tiling()

    def to(self, device: torch.device | str) -> Codec:
        self.vae.to(device)
        return self

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        place = next(self.vae.parameters())
        parts = []
        for rows in x.split(self.batch):
            z = rows.to(place.device, place.dtype)
            z = z / self.scale * self.std.to(z) + self.mean.to(z)
            parts.append(self.vae.decode(z, return_dict=False)[0].to(x))
        return torch.cat(parts)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        place = next(self.vae.parameters())
        parts = []
        at_once = max(self.batch, AT_ONCE // pictures[0, 0].numel())
        for rows in pictures.split(at_once):
            made = self.vae.encode(rows.to(place.device, place.dtype), return_dict=False)[0]
            z = made.mode() if hasattr(made, "mode") else made
            parts.append(((z - self.mean.to(z)) * self.scale / self.std.to(z)).to(pictures))
        return torch.cat(parts)


def _column(values: Any, usual: float) -> Tensor:
    """One number a channel [1, C, 1, 1], or ``usual`` for all."""
    listed = [usual] if values is None else values
    return torch.tensor(listed, dtype=torch.float32).reshape(1, -1, 1, 1)
