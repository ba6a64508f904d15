"""What every block of a network is told beside the image: one object, whatever there is to tell."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Context:
    """Of N rows, what their conditions come to.

    Attributes:
        embedding: of noise level, class and all that is said at once, [N, E].
        tokens: what attention may look at beside the image, [N, T, D]; None if there is nothing.
        mask: which tokens count, bool [N, T].
        features: what is added to the features of each resolution, finest first; empty for none.
    """

    embedding: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    features: tuple[Tensor, ...] = ()
