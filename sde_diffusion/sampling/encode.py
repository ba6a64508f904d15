"""Encode, decode and interpolate along the probability flow, which can be run either way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser, check_means
from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.asked import Heard
from sde_diffusion.solvers.adaptive.dopri import flow
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.bars import hidden

# What a denoiser without bounds is asked at, as the grids do.
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0


@dataclass(frozen=True)
class ProbabilityFlow:
    """The map between images at noise level sigma_min and latents at sigma_max (DDIM inversion).

    dy/du = y - D(y, e^u), u = log sigma (Song et al., arXiv:2011.13456, section 4.3), integrated
    to a requested error. It is the same for every SDE: y = x_t / alpha_t. An image is taken as it
    is for y at sigma_min. A latent is y / sigma_max, about N(0, I): decoding the start noise of a
    seed is sampling that seed with ``solver=dopri``. Images without the noise that belongs to
    sigma_min have latents of less than unit variance.

    ``error`` is the requested RMS error a pixel, of the latent up and of the image down. Closed
    forms keep it there and back; a network's flow is rougher, and takes up to a few times as much
    at 1e-3 (benchmarks/adaptive.md).
    """

    denoiser: Denoiser
    sigma_min: float
    sigma_max: float
    error: float

    @classmethod
    def build(
        cls,
        denoiser: Denoiser,
        error: float = 1e-3,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
    ) -> ProbabilityFlow:
        """The flow of a (guided) denoiser between two noise levels, by default its whole range.

        InputError if the range is wrong or if guidance made the flow one that has no inverse.

        Args:
            error: RMS error a pixel, of data in -1 .. 1.
            sigma_min, sigma_max: noise level taken for an image's, and of the latents.
        """
        check_means(denoiser)
        if not 0 < error < 1:
            raise InputError(f"error={error}: give a number between 0 and 1")
        if not denoiser.invertible:
            raise InputError(
                "guidance: clipped or thresholded images have no way back to a latent; leave it out"
            )
        low = max(SIGMA_MIN, denoiser.sigma_min) if sigma_min is None else sigma_min
        high = min(SIGMA_MAX, denoiser.sigma_max) if sigma_max is None else sigma_max
        if not denoiser.sigma_min <= low < high <= denoiser.sigma_max or low <= 0:
            raise InputError(
                f"sigma_min={low:g}, sigma_max={high:g}: give two noise levels within the model's "
                f"range {denoiser.sigma_min:g} .. {denoiser.sigma_max:g}"
            )
        return cls(denoiser, low, high, error)

    def encode(
        self,
        x: Tensor,
        cond: Condition | None = None,
        batch_size: int = 128,
        progress: str | None = None,
    ) -> Tensor:
        """Images [N, *shape], about -1 .. 1 -> latents [N, *shape], about N(0, I).

        Args:
            x: the images, on the denoiser's device. cond: one condition a row, or None.
            batch_size: rows at once. progress: label of a bar; None draws none.
        """
        y = self._run(x, (self.sigma_min, self.sigma_max), cond, batch_size, progress)
        return y / self.sigma_max

    def decode(
        self,
        z: Tensor,
        cond: Condition | None = None,
        batch_size: int = 128,
        progress: str | None = None,
    ) -> Tensor:
        """Latents [N, *shape] -> images [N, *shape], the inverse of ``encode``.

        Args:
            z: the latents. cond, batch_size, progress: as for ``encode``.
        """
        levels = (self.sigma_max, self.sigma_min)
        return self._run(self.sigma_max * z, levels, cond, batch_size, progress)

    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        steps: int,
        cond: Condition | None = None,
        batch_size: int = 128,
        progress: str | None = None,
    ) -> Tensor:
        """From images a to images b [N, *shape] in ``steps`` images, ends included.

        Returns [N, steps, *shape]; the latents between are ``slerp``'s, and the ends what decoding
        makes of their own.

        Args:
            a, b: as many images of one size. steps: 2 or more. cond: one condition a pair.
            batch_size, progress: as for ``encode``.
        """
        if steps < 2:
            raise InputError(f"steps={steps}: both ends are among them; give a number >= 2")
        if a.shape != b.shape:
            raise InputError(
                f"a, b: shapes {tuple(a.shape)} and {tuple(b.shape)} make no pairs; give as many "
                "of both, of one size"
            )
        both = None if cond is None else Condition.cat([cond, cond])
        z_a, z_b = self.encode(torch.cat([a, b]), both, batch_size, progress).chunk(2)
        share = torch.linspace(0, 1, steps, dtype=torch.float64, device=z_a.device)
        z = torch.stack([slerp(z_a, z_b, float(t)) for t in share], dim=1)
        each = None if cond is None else cond[torch.arange(len(a)).repeat_interleave(steps)]
        return self.decode(z.flatten(0, 1), each, batch_size, progress).unflatten(0, (-1, steps))

    @torch.no_grad()
    def _run(
        self,
        y: Tensor,
        levels: tuple[float, float],
        cond: Condition | None,
        batch_size: int,
        progress: str | None,
    ) -> Tensor:
        if tuple(y.shape[1:]) != self.denoiser.shape:
            raise InputError(
                f"images: shape {tuple(y.shape[1:])} is not the model's {self.denoiser.shape}; "
                f"give [N, {', '.join(map(str, self.denoiser.shape))}]"
            )
        if not len(y) or not bool(y.isfinite().all()):
            raise InputError(f"images: {len(y)} of them; give at least one, all values finite")
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}: give a number >= 1")
        self.denoiser.check_condition(cond)
        self.denoiser.check_levels(min(levels), max(levels))
        done = []
        ends = torch.tensor(levels, dtype=torch.float64)
        bar = tqdm(total=len(y), desc=progress, unit="image", disable=hidden(progress is not None))
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            part = None if cond is None else cond[rows].to(y.device)
            heard = Heard(self.denoiser)
            ask = Ask(EDM(), heard, part)
            done.append(flow(ask, y[rows], ends, self.error, f"error={self.error}"))
            heard.tell()
            bar.update(len(done[-1]))
        bar.close()
        return torch.cat(done)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """(sin((1 - t) w) a + sin(t w) b) / sin w, w the angle between the rows (Shoemake 1985).

    Norms are kept where those of a and b agree, as those of Gaussian latents nearly do: a straight
    line between two of them leaves the shell they live on. Rows that are parallel take the line.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    cosine = torch.nn.functional.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1)
    w = torch.arccos(cosine)
    straight = w.sin() < 1e-6
    sine = torch.where(straight, torch.ones_like(w), w.sin())
    left = torch.where(straight, torch.full_like(w, 1 - t), torch.sin((1 - t) * w) / sine)
    right = torch.where(straight, torch.full_like(w, t), torch.sin(t * w) / sine)
    return (left[:, None] * flat_a + right[:, None] * flat_b).reshape(a.shape)
