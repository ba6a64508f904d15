"""The reverse SDE with its own steps, accepted or refused, for each sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise, RevealedPath
from sde_diffusion.solvers.adaptive.report import Allowance, Report
from sde_diffusion.solvers.base import BlackBox, expand, finite_rows, root_mean_square
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.ranges import Within

# Attempts of a sample: 900 at tolerances of 1e-4, in float64.
MOST = 5_000
# Of the logarithm of the clock: e^709 is float64's largest.
LARGEST = 700.0
Answers = Callable[[Tensor, Tensor], Tensor]


class AdaptiveSDE(BlackBox):
    """dy = a (D - y) dv + eta sqrt(2) e^-v dw, y = x / alpha, v = log(alpha / sigma).

    a = 1 + eta^2. One attempt t -> s of length h = v_s - v_t costs one evaluation, at its end:

        y' = e^-ah y_t + (1 - e^-ah) D_t + e^(-a v_s) (B_s - B_t)         (exponential Euler)
        y_s = y' + (1 - (1 - e^-ah) / (ah)) (D_s - D_t),  D_s = D(y', s)  (D linear over the step)

    B is a Brownian motion in the clock e^(2 eta^2 v): the linear part and the noise are exact. The
    second line less the first is the error; refused attempts count, and go on along the same path.
    Samples are controlled one by one, as in Jolicoeur-Martineau et al., arXiv:2105.14080, which
    draws the noise of a refused step anew: a bias towards calm paths. They leave the batch when
    they have arrived; the device is read once an attempt.

    Args:
        rtol, atol: a step to s is kept if the root mean square of its error is at most
            atol + rtol sigma_s / alpha_s.
        eta: 1 is the reverse SDE; solver=dopri takes no noise.
    """

    papers = ("2105.14080",)
    stochastic = True
    # Step, in log SNR / 2. Where sigma is small after a longer one, D_s is its argument and the
    # error that is seen is 0, however wrong: from 1e6 to 1e-6 in four steps, say.
    longest = 3.2

    def __init__(
        self,
        rtol: Annotated[float, Within("1e-6 <= rtol <= 10")] = 0.01,
        atol: Annotated[float, Within("1e-6 <= atol <= 10")] = 0.001,
        eta: Annotated[float, Within("0.01 <= eta <= 4")] = 1.0,
    ) -> None:
        self.rtol, self.atol, self.eta = rtol, atol, eta

    def integrate(self, ask: Ask, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        first, last = ask.sde.lam(times[[0, -1]]).tolist()
        self._check_clock(first, last)
        y = (x / ask.sde.alpha(times[0])).double()
        rows = torch.arange(len(y), device=y.device)
        v = torch.full((len(y),), first, dtype=torch.float64, device=y.device)
        step = torch.full_like(v, min(0.1 * (last - first), self.longest))
        path = RevealedPath(noise.entropy(), x.shape[1:], self._clock(v - first), x.device)
        points, out, report = 1, torch.empty_like(y), Report(v)

        def answers(rows: slice | Tensor, report: Report) -> Answers:
            cond = ask.rows(rows).cond

            def denoise(y: Tensor, v: Tensor) -> Tensor:
                answer = ask.denoiser(y.to(x.dtype), torch.exp(-v.clamp(first, last)), cond)
                report.see(finite_rows(answer), -v)
                return answer.double()

            return denoise

        key = f"solver.rtol={self.rtol}, solver.atol={self.atol}"
        denoise, allowance = answers(slice(None), report), Allowance(MOST, key)
        d = denoise(y, v)
        while True:
            allowance.spend()
            end = (v + step).clamp(max=last)
            noise_ahead = path.ahead(self._clock(end - first), points)
            noise_ahead *= expand(torch.exp(-(1 + self.eta**2) * (end - first) - first), y)
            y_s, d_s, error = self._attempt(denoise, (y, d, v), end, noise_ahead)
            kept = error <= 1
            # D_s - D_t, which holds noise, grows as h^1/2, and its weight as h.
            growth = (0.8 * error.clamp_min(1e-10) ** (-1 / 1.5)).clamp(0.2, 3.0)
            growth = torch.where(kept, growth, growth.clamp(max=0.8)).nan_to_num(0.2)
            step = ((end - v) * growth).clamp(max=self.longest)
            y = torch.where(expand(kept, y), y_s, y)
            d = torch.where(expand(kept, y), d_s, d)
            v = torch.where(kept, end, v)
            under_way, (lengths, counts) = report.read(v < last, step, path.advance(kept))
            if len(under_way) < len(rows):
                out[rows] = y
            if not under_way:
                return (ask.sde.alpha(times[-1]) * out).to(x.dtype)
            if min(lengths) < 1e-9:
                raise InputError(f"{key}: the step vanished; loosen them")
            points = int(max(counts))
            if len(under_way) < len(rows):
                left = torch.tensor(under_way, device=y.device)
                rows, y, d, v, step = (part[left] for part in (rows, y, d, v, step))
                path.keep(under_way)
                report = Report(v)
                denoise = answers(rows, report)

    def _attempt(
        self, denoise: Answers, start: tuple[Tensor, Tensor, Tensor], end: Tensor, drawn: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """y_s, D_s and the error in units of what is allowed, from (y_t, D_t, v_t) to v_s."""
        y, d, v = start
        ah = (1 + self.eta**2) * (end - v)
        decay = expand(torch.exp(-ah), y)
        linear = 1 - (1 - decay) / expand(ah, y)
        euler = decay * y + (1 - decay) * d + drawn
        d_s = denoise(euler, end)
        y_s = euler + linear * (d_s - d)
        allowed = self.atol + self.rtol * torch.exp(-end)
        return y_s, d_s, root_mean_square(y_s - euler) / allowed

    def _check_clock(self, first: float, last: float) -> None:
        """InputError if the clock overflows from v = ``first`` to ``last``."""
        if 2 * self.eta**2 * (last - first) > LARGEST:
            eta = (LARGEST / 2 / (last - first)) ** 0.5
            raise InputError(
                f"solver.eta={self.eta:g}: from noise level {math.exp(-first):.3g} to "
                f"{math.exp(-last):.3g} its noise is beyond float64; give solver.eta="
                f"{math.floor(100 * eta) / 100:g} or less, or a narrower grid"
            )

    def _clock(self, v: Tensor) -> Tensor:
        return torch.exp(2 * self.eta**2 * v)
