"""One operator after another, and any function as an operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise


class Chain(Map):
    """A = A_n(... A_1(x))."""

    def __init__(self, maps: Sequence[Map]) -> None:
        super().__init__(maps[0].shape, maps[-1].out, maps[-1].support)
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        for each in self.maps:
            x = each.forward(x)
        return x


@final
class LinearChain(Chain, LinearMap):
    """A = A_n ... A_1, all linear."""

    maps: Sequence[LinearMap]

    def adjoint(self, y: Tensor) -> Tensor:
        for each in reversed(self.maps):
            y = each.adjoint(y)
        return y


class Composed(Operator):
    """Operators one after the other: a blur, then a lower resolution; then noise.

    Args:
        parts: the first is applied first. Their own noise levels are not used.
        noise: standard deviation of each number measured at the end.
    """

    def __init__(self, parts: Sequence[Operator], noise: float = 0.05) -> None:
        if not parts:
            raise InputError("operator.parts: give one operator or more")
        self.parts, self.noise = list(parts), checked_noise(noise)
        self.needs = tuple({word: None for part in self.parts for word in part.needs})

    def seen(self, channels: int) -> int:
        for part in self.parts:
            channels = part.seen(channels)
        return channels

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        maps: list[Map] = []
        for part in self.parts:
            maps.append(part.at(maps[-1].out if maps else shape, aside))
        linear = all(isinstance(each, LinearMap) for each in maps)
        return LinearChain(maps) if linear else Chain(maps)


class Asked:
    """A user's function A of states [N, *shape], under a contract that is checked.

    It is given a copy of x, a module one of its own dtype, and answers floats [N, *out], each row
    of its own row of x.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        held = function.parameters() if isinstance(function, nn.Module) else iter(())
        self.own = next((each.dtype for each in held if each.is_floating_point()), None)
        try:
            inspect.signature(function).bind(None)
        except TypeError as error:
            raise InputError(f"operator.function: {error}; it is called as A(x)") from error
        except ValueError:  # of a builtin nothing is known
            return

    def __call__(self, x: Tensor) -> Tensor:
        if self.own is None or self.own == x.dtype:
            return self.function(x.clone())
        return self.function(x.to(self.own)).to(x.dtype)

    @property
    def tolerance(self) -> float:
        """Of two answers in float64 that should be equal, relative."""
        return 1e-6 if self.own in (None, torch.float64) else 1e-3

    @torch.no_grad()
    def checked(self, x: Tensor) -> Tensor:
        """A(x); InputError for an answer that breaks the contract."""
        out = self(x)
        if not isinstance(out, Tensor) or not out.ndim or len(out) != len(x):
            raise InputError("operator.function: it must answer a tensor of as many rows as x")
        shape = tuple(out.shape)
        if out.ndim == 1 or not out.numel():
            raise InputError(
                f"operator.function: it answered {shape}; return [N, ...], answer[:, None]"
            )
        if out.layout is not torch.strided or out.device != x.device:
            kind = f"{out.layout} on {out.device}"
            raise InputError(f"operator.function: it answered {kind}; return a dense tensor")
        if not out.is_floating_point():
            raise InputError(
                f"operator.function: it answered {out.dtype}; return floats, of complex numbers "
                "torch.view_as_real(answer)"
            )
        alone = torch.cat([self(row[None]) for row in x])
        same = alone.shape == out.shape and torch.allclose(
            alone.double(), out.double(), rtol=self.tolerance, atol=self.tolerance, equal_nan=True
        )
        if not same:
            raise InputError(
                "operator.function: what it answers to a row is another thing where the row stands "
                "alone; keep rows apart, and leave noise to operator.noise"
            )
        return out


@final
class FunctionMap(Map):
    """A(x) by a differentiable function of [N, *shape]."""

    def __init__(self, function: Callable[[Tensor], Tensor], shape: Sequence[int]) -> None:
        self.function = Asked(function)
        out = self.function.checked(_some(shape, torch.float32))
        super().__init__(shape, out.shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _some(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Two states, always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *shape, generator=generator, dtype=dtype)


@final
class LinearFunctionMap(LinearMap):
    """A x by a linear function, A^T y by its derivative unless a function is given."""

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor] | None,
        shape: Sequence[int],
    ) -> None:
        self.function, self.given = Asked(function), adjoint
        near = self.function.tolerance
        a, b = _some((2, *shape), torch.float64)
        one, other, sum_of = (self.function.checked(x) for x in (a, b, 2 * a - 3 * b))
        if not torch.allclose(sum_of, 2 * one - 3 * other, rtol=near, atol=near / 100):
            raise InputError(
                "operator.function: A(2 a - 3 b) is not 2 A(a) - 3 A(b); give linear=False"
            )
        super().__init__(shape, one.shape[1:])
        generator = torch.Generator().manual_seed(1)
        y = torch.randn(2, *self.out, generator=generator, dtype=torch.float64)
        left, right = (one * y).sum(), (a * self.adjoint(y)).sum()
        if not torch.allclose(left, right, rtol=near, atol=near / 100):
            if adjoint is None:
                raise InputError(
                    "operator.function: its derivative is not itself; leave detach, no_grad and "
                    "numpy out of it, or give its adjoint="
                )
            raise InputError(
                "operator.adjoint: <A x, y> is not <x, A^T y>; leave it out, and it is derived"
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        if self.given is not None:
            return self.given(y)
        zeros = torch.zeros(len(y), *self.shape, dtype=y.dtype, device=y.device)
        _, answer = torch.autograd.functional.vjp(self.function, zeros, y)
        return answer


class Function(Operator):
    """Any function of states [N, *shape] that keeps rows apart: ``Function(my_camera)``.

    Args:
        function: x -> A(x), differentiable by torch. adjoint: y -> A^T y; None: derived.
        linear: whether A is linear: checked on two random states, and the adjoint with it.
        noise: standard deviation of each number measured.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor] | None = None,
        linear: bool = True,
        noise: float = 0.05,
    ) -> None:
        if not callable(function):
            raise InputError(f"operator.function={function!r}: give a callable of x [N, *shape]")
        if adjoint is not None and not linear:
            raise InputError("operator.adjoint: a function that is not linear has none; drop it")
        self.function, self.adjoint, self.linear = function, adjoint, linear
        self.noise = checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        if self.linear:
            return LinearFunctionMap(self.function, self.adjoint, shape)
        return FunctionMap(self.function, shape)
