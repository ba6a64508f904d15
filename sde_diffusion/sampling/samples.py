"""What a sampler made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sde_diffusion.codecs import PIXELS, Codec
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.images.pixels import not_finite, to_uint8
from sde_diffusion.sampling.recorder import Calls
from sde_diffusion.system.storage import write_atomically

if TYPE_CHECKING:
    from sde_diffusion.sampling.film import Film


@dataclass(frozen=True)
class Samples:
    """Rows in the order of their seeds.

    Attributes:
        x: states [N, *shape] in the model's space, on the CPU.
        seeds: one a row.
        nfe: network evaluations a sample, counted at the network.
        seconds: wall time of sampling.
        trajectory: x_t / alpha_t of every step [T, N, *shape] if it was asked for.
        times: the T times of the trajectory, float64.
        calls: what the denoiser was asked and answered, of the first images, if it was asked for
            and the solver takes the same steps for all.
        codec: makes pictures of states.
    """

    x: Tensor
    seeds: tuple[int, ...]
    nfe: float
    seconds: float
    trajectory: Tensor | None = None
    times: Tensor | None = None
    calls: Calls | None = None
    codec: Codec = PIXELS

    def __len__(self) -> int:
        return len(self.x)

    @property
    def images(self) -> Tensor:
        """The pictures as uint8 [N, C, H, W], clipped and rounded; DivergedError if there are
        none."""
        self.check()
        return to_uint8(self.codec.decode(self.x))

    def check(self) -> None:
        """DivergedError for states that are not finite."""
        if wrong := not_finite(self.x):
            raise DivergedError(
                f"samples: {wrong} of {len(self)} hold values that are not finite; the solver "
                "diverged: give a larger nfe or another grid, or check the model"
            )

    @property
    def film(self) -> Film:
        """How the first images formed; InputError if their calls were not recorded."""
        from sde_diffusion.sampling.film import Film

        if self.calls is None:
            raise InputError(
                "trajectory: the calls of the denoiser were not recorded; give trajectory=True "
                "and a solver of fixed steps"
            )
        return Film.of(self.calls, self.x)

    def animation(self, kind: str) -> bytes:
        """x_t beside the denoised estimate, call by call, as the content of a .webp or .gif."""
        from sde_diffusion.sampling.film import draw, encode

        return encode(draw({"": self.film}), kind)

    def save_animation(self, path: str | Path) -> None:
        """Write ``animation`` into a file of either kind."""
        write_atomically(Path(path), self.animation(Path(path).suffix))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.x.shape[1:]))
        return (
            f"Samples({len(self)} of {shape}, {self.nfe:g} evaluations each, {self.seconds:.1f} s)"
        )

    @classmethod
    def join(cls, parts: Sequence[Samples]) -> Samples:
        """Consecutive batches as one."""
        sizes = [len(part) for part in parts]
        states = [part.trajectory for part in parts if part.trajectory is not None]
        return replace(
            parts[0],
            x=torch.cat([part.x for part in parts]),
            seeds=tuple(seed for part in parts for seed in part.seeds),
            nfe=sum(n * part.nfe for n, part in zip(sizes, parts, strict=True)) / sum(sizes),
            seconds=sum(part.seconds for part in parts),
            trajectory=torch.cat(states, dim=1) if states else None,
            calls=Calls.join([part.calls for part in parts if part.calls is not None]),
        )
