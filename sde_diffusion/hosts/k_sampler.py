"""Any solver of this package where a host calls k-diffusion's ``sample(model, x, sigmas, ...)``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config import groups, samplers
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.function import checked_answer
from sde_diffusion.errors import InputError
from sde_diffusion.hosts.noise import HostNoise, drawn_by, seeds_of
from sde_diffusion.hosts.walk import guides_not
from sde_diffusion.process.grids import Explicit
from sde_diffusion.process.noise import Noise, NoiseSource, Seeds
from sde_diffusion.process.sde import EDM, Marginal
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.annotations import shown

Callback = Callable[[dict[str, Any]], None]
NoiseSampler = Callable[[Tensor, Tensor], Tensor]


class KSampler:
    """``KSampler(UniPC(3))(model, x, sigmas)``, for hosts such as ComfyUI.

    ``model(x, sigma, **extra_args)`` answers the denoised image for x = x_0 + sigma n [N, *shape]
    and sigma [N]; the walk goes along ``sigmas``, and where they end in 0 the last one above it is
    denoised, so that n levels above 0 are n evaluations of a solver with one a step.

    Args:
        solver: of fixed steps, by object or name, that of other programs among them: ``"Euler a"``,
            without a schedule, since the host gives the levels.
        flow: sigma is t in 0 .. 1 and x = (1 - t) x_0 + t n, as for models of flows; k-diffusion's
            own x else.
        seeds: one a row, or the first of consecutive ones, of what a solver draws; None: the
            host's ``noise_sampler``, or else torch's global generator.
        noise: how seeds become noise.
    """

    def __init__(
        self,
        solver: Any,
        *,
        flow: bool = False,
        seeds: int | Sequence[int] | None = None,
        noise: NoiseSource | None = None,
    ) -> None:
        preset = samplers.chosen(solver, None, None)
        if preset.grid is not None:
            raise InputError(
                f"solver={solver}: chooses levels, and a host gives them; give the method alone, "
                f"'{samplers.find(solver).method.name}'"
            )
        self.solver: Solver = groups.resolve("solver", preset.resolvable_solver)
        guides_not(self.solver)
        if self.solver.adaptive:
            raise InputError(
                f"solver={type(self.solver).__name__}: chooses its own levels, and a host gives "
                "them; take one of fixed steps, UniPC(3), say"
            )
        self.flow, self.seeds, self.noise = flow, seeds, noise or Seeds()

    @torch.no_grad()
    def __call__(
        self,
        model: Callable[..., Tensor],
        x: Tensor,
        sigmas: Tensor,
        extra_args: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        disable: bool | None = None,
        noise_sampler: NoiseSampler | None = None,
    ) -> Tensor:
        """x [N, *shape] at sigmas[0] -> x at sigmas[-1].

        Args:
            sigmas: falling levels [n + 1]. extra_args: for each call of the model.
            callback: hears ``{"x", "i", "sigma", "sigma_hat", "denoised"}`` at each level.
            disable: no progress bar. noise_sampler(sigma, next): normals of a step.
        """
        _check_given(x, sigmas, extra_args, callback)
        levels_told = [float(sigma) for sigma in sigmas]
        levels = [_of_flow(t) for t in levels_told] if self.flow else levels_told
        scale = 1 / (1 + levels[0]) if self.flow and levels[0] < math.inf else 1.0
        with tqdm(total=sum(level > 0 for level in levels), disable=disable) as bar:
            hears = _Hears(callback, levels_told, bar)
            host = HostDenoiser(model, extra_args or {}, self.flow, hears, x.shape[1:])
            noise = self._noise(x, noise_sampler)
            y = self._walked(host, x / scale, levels, noise)
        end = levels[-1]
        return y / (1 + end) if self.flow else y

    def _walked(self, host: HostDenoiser, y: Tensor, levels: list[float], noise: Noise) -> Tensor:
        """y at the first level -> y at the last."""
        if len(levels) == 2 and levels[1] == 0:
            return host(y, torch.tensor(levels[0], dtype=torch.float64))
        grid, sde = Explicit(levels), EDM()
        times = grid.times(sde, len(grid.walked) - 1)
        ask = Ask(sde, host, None, after=int(grid.to_zero))
        if grid.from_infinity:
            y = sde.perturb(ask.noise_denoised(y), times[0], y)

        def observe(at: Marginal, state: Tensor) -> None:
            host.hears.begins = True

        solver = self.solver.fitted(host)
        solver.check(host)
        y = solver.solve(ask, y, times, noise, observe)
        return ask.denoise(y, ask.at(float(times[-1]))) if grid.to_zero else y

    def _noise(self, x: Tensor, sampler: NoiseSampler | None) -> Noise:
        if self.seeds is not None:
            seeds = seeds_of(self.seeds, len(x))
            return self.noise.batch(seeds, x.shape[1:], x.dtype, x.device)
        if sampler is None:
            return HostNoise(drawn_by(None, x), len(x))
        return HostNoise(lambda t, s: sampler(torch.tensor(t), torch.tensor(s)).to(x), len(x))


def _check_given(x: Any, sigmas: Any, extra_args: Any, callback: Any) -> None:
    """InputError for what no host of k-diffusion gives."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"x: {kind}; give a tensor [N, *shape] of floats")
    if torch.as_tensor(sigmas).ndim != 1:
        raise InputError(f"sigmas: shape {tuple(torch.as_tensor(sigmas).shape)}; give levels [n]")
    for key, argument, right in (
        ("callback", callback, callback is None or callable(callback)),
        ("extra_args", extra_args, extra_args is None or isinstance(extra_args, Mapping)),
    ):
        if not right:
            words = "a function of one dictionary" if key == "callback" else "keywords by name"
            raise InputError(f"{key}={shown(repr(argument))}: give {words}, or None")


class _Hears:
    """A callback, once at each level: at the first evaluation after a step."""

    def __init__(self, callback: Callback | None, sigmas: list[float], bar: Any) -> None:
        self.callback, self.sigmas, self.bar = callback, sigmas, bar
        self.begins, self.i = True, 0

    def __call__(self, x: Tensor, sigma: Tensor, denoised: Tensor) -> None:
        if not self.begins:
            return
        if self.callback is not None:
            at = {"sigma": sigma, "sigma_hat": sigma, "denoised": denoised}
            self.callback({"x": x, "i": self.i, **at})
        self.begins, self.i = False, self.i + 1
        self.bar.update()


@final
class HostDenoiser(CountedDenoiser):
    """D(y, r) = model(x, sigma), in the host's own scale.

    Args:
        model: of the host. extra_args: for each call. flow: its x is (1 - t) x_0 + t n.
        hears: of each level. shape: of a row.
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        extra_args: Mapping[str, Any],
        flow: bool,
        hears: _Hears,
        shape: Sequence[int],
    ) -> None:
        super().__init__(tuple(shape), 0.0, math.inf)
        self.model, self.extra_args, self.flow, self.hears = model, extra_args, flow, hears

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        level = float(sigma)
        t = level
        if self.flow:
            t = 1.0 if math.isinf(level) else level / (1 + level)
            x = x if math.isinf(level) else x / (1 + level)
        times = torch.full((len(x),), t, dtype=x.dtype, device=x.device)
        level_told = times[0].clone()
        # Of a copy, which may be written to; of a buffer that is filled anew, solvers keep earlier.
        answer = checked_answer(self.model(x.clone(), times, **self.extra_args), x).clone()
        self.hears(x, level_told, answer)
        return answer


def _of_flow(t: float) -> float:
    """sigma / alpha of x = (1 - t) x_0 + t n; InputError for a t that is none."""
    if not 0 <= t <= 1:
        raise InputError(f"sigmas={t:g}: those of a flow are t in 0 .. 1; leave flow=True out")
    return math.inf if t == 1 else t / (1 - t)
