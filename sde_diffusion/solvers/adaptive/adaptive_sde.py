"""The reverse SDE with its own steps, accepted or refused, for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise, RevealedPath
from sde_diffusion.solvers.base import BlackBox, expand, finite, root_mean_square
from sde_diffusion.solvers.step import Ask


class AdaptiveSDE(BlackBox):
    """dy = a (D - y) dv + eta sqrt(2) e^-v dw, y = x / alpha, v = log(alpha / sigma).

    a = 1 + eta^2. One attempt t -> s of length h = v_s - v_t costs one evaluation, at its end:

        y' = e^-ah y_t + (1 - e^-ah) D_t + e^(-a v_s) (B_s - B_t)         (exponential Euler)
        y_s = y' + (1 - (1 - e^-ah) / (ah)) (D_s - D_t),  D_s = D(y', s)  (D linear over the step)

    B is a Brownian motion in the clock e^(2 eta^2 v): the linear part and the noise are exact. The
    second line less the first is the error; refused attempts count, and go on along the same path.
    Samples are controlled one by one, as in Jolicoeur-Martineau et al., arXiv:2105.14080, which
    draws the noise of a refused step anew: a bias towards calm paths.

    Args:
        rtol, atol: a step to s is kept if the root mean square of its error is at most
            atol + rtol sigma_s / alpha_s.
        eta: 0 < eta <= 4; 1 is the reverse SDE.
    """

    stochastic = True

    def __init__(self, rtol: float = 0.01, atol: float = 0.001, eta: float = 1.0) -> None:
        if not (rtol > 0 and atol > 0):
            raise InputError(f"solver.rtol={rtol}, solver.atol={atol}: give numbers > 0")
        if not 0 < eta <= 4:
            raise InputError(
                f"solver.eta={eta}: give a number above 0, at most 4; solver=dopri takes no noise"
            )
        self.rtol, self.atol, self.eta = rtol, atol, eta

    def integrate(self, ask: Ask, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        first, last = ask.sde.lam(times[[0, -1]])
        y = (x / ask.sde.alpha(times[0])).double()
        paths = [RevealedPath(seed, x.shape[1:], 1.0) for seed in noise.entropy()]

        def denoise(rows: Tensor, y: Tensor, v: Tensor) -> Tensor:
            level = torch.exp(-v.clamp(first, last))
            answer = ask.denoiser(y.to(x.dtype), level, ask.rows(rows).cond)
            return finite(answer, level).double()

        v = first.repeat(len(y))
        step = torch.full_like(v, 0.1 * float(last - first))
        rows = torch.arange(len(y))
        known = denoise(rows, y, v)
        while len(rows):
            y_t, d_t, end = y[rows], known[rows], torch.minimum(v[rows] + step[rows], last)
            h, clock = end - v[rows], self._clock(end - first)
            drawn = increments(paths, rows, self._clock(v[rows] - first), clock).to(y)
            scale = torch.exp(-(1 + self.eta**2) * (end - first) - first)
            decay = torch.exp(-(1 + self.eta**2) * h)
            linear = 1 - (1 - decay) / ((1 + self.eta**2) * h)
            decay, scale, linear = (expand(c, y).to(y) for c in (decay, scale, linear))

            euler = decay * y_t + (1 - decay) * d_t + scale * drawn
            d_s = denoise(rows, euler, end)
            y_s = euler + linear * (d_s - d_t)
            allowed = self.atol + self.rtol * torch.exp(-end)
            error = root_mean_square(y_s - euler).to("cpu") / allowed
            kept = error <= 1
            done = rows[kept]
            y[done], known[done], v[done] = y_s[kept], d_s[kept], end[kept]
            for k, q in zip(done.tolist(), clock[kept].tolist(), strict=True):
                paths[k].forget(q)
            # D_s - D_t, which holds noise, grows as h^1/2, and its weight as h.
            growth = (0.8 * error.clamp_min(1e-10) ** (-1 / 1.5)).clamp(0.2, 3.0)
            step[rows] = h * torch.where(kept, growth, growth.clamp(max=0.8)).nan_to_num(0.2)
            rows = rows[v[rows] < last]
            if len(rows) and float(step[rows].min()) < 1e-9:
                raise InputError(
                    f"solver.rtol={self.rtol}, solver.atol={self.atol}: the step vanished; "
                    "loosen them"
                )
        return (ask.sde.alpha(times[-1]) * y).to(x.dtype)

    def _clock(self, v: Tensor) -> Tensor:
        return torch.exp(2 * self.eta**2 * v)


def increments(paths: list[RevealedPath], rows: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """B(end) - B(start) of the paths of ``rows``, float64 [M, *shape]."""
    ends = zip(rows.tolist(), start.tolist(), end.tolist(), strict=True)
    return torch.stack([paths[k].at(b) - paths[k].at(a) for k, a, b in ends])
