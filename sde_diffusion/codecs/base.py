"""Between a model's space and pictures: nothing for pixels, an autoencoder for latents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import final

import torch
from torch import Tensor


class Codec(ABC):
    """Encodes pictures into states of a model and decodes them.

    Attributes:
        identity: what pictures depend on beside the states; empty for the identity.
        factor: how many pixels a side of a state's is wide.
        channels: of pictures; 0: those of states.
        shifted: whether states are more than a multiple of the autoencoder's own latents.
        described: in a line; empty for the identity.
        files: that its weights are in; none of pixels.
    """

    identity: str = ""
    factor: int = 1
    channels: int = 0
    described: str = ""
    shifted: bool = False
    files: tuple[Path, ...] = ()

    def to(self, device: torch.device | str) -> Codec:
        """Itself, working on ``device`` if it has weights."""
        return self

    @abstractmethod
    def decode(self, x: Tensor) -> Tensor:
        """States [N, *shape] -> pictures [N, C, H, W], about -1 .. 1."""

    @abstractmethod
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [N, C, H, W], -1 .. 1 -> states [N, *shape]."""


@final
class Identity(Codec):
    """States are the pictures themselves; so it is for vectors, which have none."""

    def decode(self, x: Tensor) -> Tensor:
        return x

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures


PIXELS = Identity()
