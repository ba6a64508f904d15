"""Classifier-free guidance with the spread of the conditional answer (arXiv:2305.08891)."""

from __future__ import annotations

from typing import Annotated, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.pair import columns, pair
from sde_diffusion.system.ranges import Within


@final
class Rescaled(Guidance, known_as="guidance.rescaled"):
    """n = n_cfg (share std(n_c) / std(n_cfg) + 1 - share), n = (x - D) / sigma the noise that is
    predicted, std a row's over all its values: Lin et al., arXiv:2305.08891, section 3.4, in the
    form that acts on predictions of the noise. It aims at the contrast of D(x, c), at no law.

    Args:
        scale: as of ``ClassifierFree``.
        share: phi of the paper: 0 leaves the guided answer as it is, 1 gives it the whole contrast
            of the conditional one.
    """

    calls = 2
    asks_empty = True

    def __init__(
        self,
        scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.5,
        share: Annotated[float, Within("0 <= share <= 1")] = 0.7,
    ) -> None:
        self.scale, self.share = scale, share

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        conditional, empty = pair(inner, x, sigma, cond, "rescaled")
        guided = empty + self.scale * (conditional - empty)
        # Both predictions are over sigma, which the ratio of their spreads does not know.
        noise, wanted = x - guided, x - conditional
        ratio = wanted.flatten(1).std(1) / noise.flatten(1).std(1).clamp_min(1e-30)
        return x - noise * columns(self.share * ratio + 1 - self.share, x)
