"""A variational autoencoder of diffusers between latents and pictures."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sde_diffusion.codecs.base import Codec
from sde_diffusion.errors import InputError

# What a config may say of latents beside their scale.
KEYS = ("shift_factor", "latents_mean", "latents_std")
# Pixels that are encoded at once, of several pictures.
AT_ONCE = 2**18


@final
class Autoencoder(Codec):
    """x = (z - shift) scale, z the autoencoder's own latents; or x = (z - mean) scale / std.

    In float32 whatever the network's dtype is: some overflow in less. An image is encoded to the
    mode of its posterior. Pictures are decoded one at a time, so that memory does not grow with
    their number, and small ones encoded several at once.

    Attributes:
        latents: channels of a state.

    Args:
        vae: ``AutoencoderKL`` or ``AutoencoderTiny``.
        identity: fingerprint of its weights.
        tiling: decode large pictures in overlapping tiles: less memory, and faint seams.
        files: that its weights are in.
        undone: which of ``KEYS`` its pipeline undoes, beside the scale; the rest has no bearing.
    """

    def __init__(
        self,
        vae: Any,
        identity: str,
        tiling: bool = False,
        files: tuple[Path, ...] = (),
        undone: Collection[str] = KEYS,
    ) -> None:
        config = vae.config
        self.vae, self.identity, self.files = vae, identity, files
        self.factor = 2 ** (len(config.block_out_channels) - 1)
        self.latents, self.channels = int(config.latent_channels), int(config.out_channels)
        scale, values = config.get("scaling_factor"), {key: config.get(key) for key in undone}
        self.scale = 1.0 if scale is None else _numbers("scaling_factor", scale, 1, True)[0]
        shift = _numbers("shift_factor", values.get("shift_factor") or 0.0, 1)
        mean, std = values.get("latents_mean"), values.get("latents_std")
        self.mean = _column(shift if mean is None else _numbers("latents_mean", mean, self.latents))
        self.std = _column(
            [1.0] if std is None else _numbers("latents_std", std, self.latents, True)
        )
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
        for rows in x.split(1):
            z = rows.to(place.device, place.dtype)
            z = z / self.scale * self.std.to(z) + self.mean.to(z)
            parts.append(self.vae.decode(z, return_dict=False)[0].to(x))
        return torch.cat(parts)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        place = next(self.vae.parameters())
        parts = []
        at_once = max(1, AT_ONCE // pictures[0, 0].numel())
        for rows in pictures.split(at_once):
            posterior = self.vae.encode(rows.to(place.device, place.dtype), return_dict=False)[0]
            z = posterior.mode() if hasattr(posterior, "mode") else posterior
            parts.append(((z - self.mean.to(z)) * self.scale / self.std.to(z)).to(pictures))
        return torch.cat(parts)


def _numbers(key: str, value: Any, count: int, divides: bool = False) -> list[float]:
    """One number or ``count`` of them, none 0 where it divides; InputError for anything else."""
    listed = list(value) if isinstance(value, list | tuple) else [value]
    plain = all(type(each) in (int, float) and math.isfinite(each) for each in listed)
    if not plain or len(listed) != count or (divides and 0 in listed):
        noun = "a number" if count == 1 else f"{count} numbers, one a channel of its latents"
        zero = ", none of them 0" if divides else ""
        raise InputError(
            f"config.json of the autoencoder: {key}={str(value)[:40]}: write {noun}{zero}"
        )
    return [float(each) for each in listed]


def _column(values: list[float]) -> Tensor:
    """One number a channel, or one for all, as [1, C, 1, 1]."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
