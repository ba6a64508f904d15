"""What a sampler made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from sde_diffusion.codecs import PIXELS, Codec
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.images.names import file_name
from sde_diffusion.images.pixels import not_finite, to_uint8
from sde_diffusion.images.sheet import cloud, image_grid, png_bytes
from sde_diffusion.sampling.recorder import Calls
from sde_diffusion.system.storage import write_atomically

if TYPE_CHECKING:
    from sde_diffusion.sampling.film import Film


SHOWN = 100  # images that a notebook shows
LISTED = 6  # seeds that a line lists


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
        labels: the class that each row was drawn of, None where it was drawn of none; None if no
            row has one.
        backward_passes: derivatives of the network a sample, where guidance takes some.
    """

    x: Tensor
    seeds: tuple[int, ...]
    nfe: float
    seconds: float
    trajectory: Tensor | None = None
    times: Tensor | None = None
    calls: Calls | None = None
    codec: Codec = PIXELS
    labels: tuple[int | None, ...] | None = None
    backward_passes: float = 0.0

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def pixels(self) -> Tensor:
        """The pictures, floats about -1 .. 1 [N, C, H, W]; vectors as they are. DivergedError for
        states that are not finite."""
        self.check()
        return self.codec.decode(self.x)

    @property
    def images(self) -> Tensor:
        """The pictures as uint8 [N, C, H, W], clipped and rounded; DivergedError if there are
        none."""
        return to_uint8(self.pixels)

    @property
    def pictures(self) -> list[Image.Image]:
        """One picture a row; InputError where the states are no pictures."""
        return [image_grid(image[None], scale=1) for image in self._pictures()]

    def grid(self, columns: int | None = None) -> Image.Image:
        """All in one picture, in rows of ``columns`` (a square by default); vectors as a cloud."""
        self.check()
        return cloud(self.x) if self.x.ndim == 2 else image_grid(self._pictures(), columns)

    def save(self, folder: str | Path) -> Path:
        """Write images/NUMBER-seedSEED.png, one an image, and sheet.png beside them.

        ``-classLABEL`` is added where a row has a label. Returns the path of ``images``;
        InputError where that holds others already, which would be taken for some of these.
        """
        if not str(folder):
            raise InputError("folder='': give a path")
        place, names = Path(folder) / "images", self._names()
        others = {path.name for path in place.glob("*")} - set(names)
        if others:
            raise InputError(
                f"folder={folder}: images holds others, {min(others)}; give another folder, or "
                "remove them"
            )
        for name, picture in zip(names, self.pictures, strict=True):
            write_atomically(place / name, png_bytes(picture))
        if len(self) > 1:
            write_atomically(place.parent / "sheet.png", png_bytes(self.grid()))
        return place

    def _names(self) -> list[str]:
        labels = self.labels or [None] * len(self)
        rows = enumerate(zip(self.seeds, labels, strict=True))
        return [file_name(k, len(self), seed, label) for k, (seed, label) in rows]

    def _pictures(self) -> Tensor:
        """``images``; InputError where they have not the sides and channels of pictures."""
        images = self.images
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(
                f"samples: states {tuple(images.shape[1:])} are no pictures of 1 or 3 channels; "
                "take x, the states themselves"
            )
        return images

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
            f"Samples({len(self)} of {shape}, {_span('seed', self.seeds)}, {self.nfe:g} "
            f"evaluations each, {self.seconds:.1f} s)"
        )

    def _repr_png_(self) -> bytes | None:
        """The first images, for a notebook; None, whose line it then shows, if they are none."""
        first = self if self.x.ndim == 2 else replace(self, x=self.x[:SHOWN])
        try:
            return png_bytes(first.grid())
        except InputError:
            return None

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
            backward_passes=sum(len(part) * part.backward_passes for part in parts) / sum(sizes),
            seconds=sum(part.seconds for part in parts),
            trajectory=torch.cat(states, dim=1) if states else None,
            calls=Calls.join([part.calls for part in parts if part.calls is not None]),
            labels=_labels([part.labels for part in parts]),
        )


def _labels(parts: Sequence[tuple[int | None, ...] | None]) -> tuple[int | None, ...] | None:
    labelled = [part for part in parts if part is not None]
    return tuple(label for part in labelled for label in part) if labelled else None


def _span(name: str, numbers: Sequence[int]) -> str:
    """``seeds 0 .. 15``, ``seed 3``, or as many of them as a line holds."""
    if len(numbers) == 1:
        return f"{name} {numbers[0]}"
    if all(b == a + 1 for a, b in pairwise(numbers)):
        return f"{name}s {numbers[0]} .. {numbers[-1]}"
    dots = ", ..." if len(numbers) > LISTED else ""
    return f"{name}s {', '.join(map(str, numbers[:LISTED]))}{dots}"
