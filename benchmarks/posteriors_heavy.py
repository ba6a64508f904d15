"""A heavy-tailed prior: its posterior by quadrature in the plane, by Gibbs's sampler at d = 64."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from posteriors_priors import DOUBLE, PLANE, Prior
from torch import Tensor

from sde_diffusion.denoisers.base import CountedDenoiser


class HeavyDenoiser(CountedDenoiser):
    """Independent x_i ~ sum_j w_j N(0, s_j^2): shrinks each number by itself."""

    def __init__(self, d: int, weights: Tensor, scales: Tensor) -> None:
        super().__init__((d,), 0.0, math.inf)
        self.weights, self.squares = weights, scales.square()

    def denoise(self, x: Tensor, sigma: Tensor, cond: object) -> Tensor:
        total = self.squares + sigma**2  # one level for all rows
        logs = self.weights.log() - 0.5 * (x[..., None].square() / total + total.log())
        return x * (logs.softmax(-1) * (self.squares / total)).sum(-1)


class Heavy(Prior):
    """Student's t of 3 degrees of freedom, scale 0.2, as 24 Gaussians; in Haar's basis at d = 64.

    The posterior by quadrature in the plane, else by Gibbs's sampler over the Gaussians' numbers.
    """

    freedom, scale, chains, burn, thin = 3.0, 0.2, 19, 40, 3

    def __init__(self, d: int) -> None:
        self.d, self.name = d, f"heavy tails, d = {d}"
        self.measured, self.draws = (60 if d == 2 else 12), 19
        log = torch.linspace(math.log(0.5), math.log(60), 24, dtype=DOUBLE)
        precision = (-2 * log).exp()  # Gamma(nu / 2, nu / 2); in log s the density has a factor
        weights = precision ** (self.freedom / 2) * (-self.freedom / 2 * precision).exp()
        self.weights, self.scales = weights / weights.sum(), self.scale * log.exp()
        self.denoiser = HeavyDenoiser(d, self.weights, self.scales)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        j = torch.multinomial(self.weights, n * self.d, replacement=True, generator=generator)
        z = torch.randn(n, self.d, generator=generator, dtype=DOUBLE)
        return self.scales[j].reshape(n, self.d) * z

    @cached_property
    def basis(self) -> Tensor:
        """Haar's, rows the functions [64, 64]."""
        rows = torch.ones(1, 1, dtype=DOUBLE)
        while len(rows) < self.d:
            fine = torch.kron(torch.eye(len(rows), dtype=DOUBLE), torch.tensor([[1.0, -1.0]]))
            rows = torch.cat([torch.kron(rows, torch.ones(1, 2, dtype=DOUBLE)), fine]) / 2**0.5
        return rows

    def matrix(self, kind: str) -> Tensor:
        if self.d == 2:
            return torch.tensor(PLANE[kind], dtype=DOUBLE)
        at = torch.arange(self.d, dtype=DOUBLE)
        away = (at[:, None] - at + self.d / 2) % self.d - self.d / 2
        blur = (-0.5 * (away / 1.5).square()).exp()
        order = torch.rand(self.d, generator=torch.Generator().manual_seed(0)).argsort()
        waves = [torch.ones(self.d, dtype=DOUBLE) / self.d**0.5]
        for k in (1, 2, 3, 5, 8, 13, 21):
            phase = 2 * math.pi * k * at / self.d
            waves += [(2 / self.d) ** 0.5 * phase.cos(), (2 / self.d) ** 0.5 * phase.sin()]
        signals = {
            "mask": torch.eye(self.d, dtype=DOUBLE)[order[: self.d // 3]],
            "blur": blur / blur.sum(1, keepdim=True),
            "4x": torch.kron(
                torch.eye(self.d // 4, dtype=DOUBLE), torch.full((1, 4), 0.25).double()
            ),
            "Fourier": torch.stack(waves),
        }
        return signals[kind] @ self.basis.T

    def posterior(
        self, a: Tensor, noise: float, ys: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        if self.d == 2:
            return torch.stack([self._quadrature(a, noise, y, n, generator) for y in ys])
        rows, kept = ys.repeat_interleave(self.chains, 0), []
        x, eye = self.sample(len(rows), generator), torch.eye(len(a), dtype=DOUBLE)
        for sweep in range(self.burn + self.thin * -(-n // self.chains)):
            logs = self.weights.log() - self.scales.log()
            logs = logs - 0.5 * (x[..., None] / self.scales).square()
            j = torch.multinomial(logs.softmax(-1).flatten(0, 1), 1, generator=generator)
            v = self.scales[j].reshape(x.shape).square()
            x = v.sqrt() * torch.randn(x.shape, generator=generator, dtype=DOUBLE)
            seen = noise * torch.randn(rows.shape, generator=generator, dtype=DOUBLE)
            total = (a * v[:, None]) @ a.T + noise**2 * eye
            solved = torch.linalg.solve(total, (rows - x @ a.T - seen)[..., None])[..., 0]
            x = x + v * (solved @ a)
            if sweep >= self.burn and (sweep - self.burn) % self.thin == self.thin - 1:
                kept.append(x.reshape(len(ys), self.chains, self.d))
        return torch.cat(kept, 1)[:, :n]

    def _quadrature(
        self, a: Tensor, noise: float, y: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        """From a grid, fine about 0 and wide: u -> sinh(u), its density and its step with it."""
        u = torch.linspace(-7, 7, 601, dtype=DOUBLE)
        at, step = 0.05 * u.sinh(), 0.05 * u.cosh() * float(u[1] - u[0])
        t = self.scales.square()
        line = (self.weights.log() - 0.5 * (at[:, None].square() / t + t.log())).logsumexp(1)
        line = line + step.log()
        fit = y - a[:, 0] * at[:, None, None] - a[:, 1] * at[:, None]
        logs = line[:, None] + line - fit.square().sum(-1) / (2 * noise**2)
        chosen = torch.multinomial(
            logs.flatten().softmax(0), n, replacement=True, generator=generator
        )
        cell = torch.stack([chosen // len(at), chosen % len(at)], 1)
        jitter = torch.rand(n, 2, generator=generator, dtype=DOUBLE) - 0.5
        return at[cell] + step[cell] * jitter
