"""Where the states of a model live: pixels, latents or plain vectors, of one shape or of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import final

from sde_diffusion.errors import InputError


class Kind(Enum):
    """What a state is a picture of."""

    PIXELS = "pixels"
    LATENTS = "latents"
    VECTORS = "vectors"


@final
@dataclass(frozen=True)
class Space:
    """States of one row, [*shape]: (C, H, W) for pixels and latents, (d,) for vectors.

    Attributes:
        kind: pixels about -1 .. 1, latents of a codec, or vectors.
        pattern: one entry a side; None where the model takes any multiple of ``multiple``.
        multiple: of which H and W are whole numbers, where they are free.
        usual: the shape that is drawn where none is asked for; empty if there is none.
    """

    kind: Kind
    pattern: tuple[int | None, ...]
    multiple: int = 1
    usual: tuple[int, ...] = ()

    @classmethod
    def of(cls, shape: Sequence[int] | Space) -> Space:
        """The space of one shape: vectors if it has one side, pixels otherwise; a space as it is.

        InputError for what is no shape.
        """
        if isinstance(shape, Space):
            return shape
        sides = tuple(shape)
        if not sides or any(type(side) is not int or side < 1 for side in sides):
            raise InputError(f"shape={sides}: give the shape of one image, (3, 32, 32), say")
        return cls(Kind.VECTORS if len(sides) == 1 else Kind.PIXELS, sides)

    @property
    def shape(self) -> tuple[int, ...]:
        """The one shape of a state, or the usual one; InputError where the model takes several."""
        if self.usual:
            return self.usual
        sides = tuple(side for side in self.pattern if side is not None)
        if len(sides) < len(self.pattern):
            raise InputError(
                f"size: the model draws {self.kind.value} of any size; give the height and width, "
                f"multiples of {self.multiple}, size=[{8 * self.multiple},{8 * self.multiple}], say"
            )
        return sides

    def check(self, shape: Sequence[int], key: str) -> None:
        """InputError, which names ``key``, unless states of this shape belong to the space."""
        fits = len(shape) == len(self.pattern) and all(
            side == wanted if wanted is not None else side > 0 and side % self.multiple == 0
            for side, wanted in zip(shape, self.pattern, strict=True)
        )
        if not fits:
            free = f", sides multiples of {self.multiple}" if None in self.pattern else ""
            wanted = ", ".join("any" if side is None else str(side) for side in self.pattern)
            raise InputError(
                f"{key}: shape {tuple(shape)} is not the model's ({wanted}){free}; give "
                f"[N, {wanted}]"
            )
