"""One operator after another, and any function as an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise


@final
class ComposedMap(LinearMap):
    """A = A_n ... A_1.

    Args:
        maps: A_1, ..., A_n, all linear.
    """

    def __init__(self, maps: Sequence[LinearMap]) -> None:
        super().__init__(maps[0].shape, maps[-1].out, maps[-1].support)
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        for each in self.maps:
            x = each.forward(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for each in reversed(self.maps):
            y = each.adjoint(y)
        return y


@final
class NonlinearChain(Map):
    """A = A_n(... A_1(x)), of which one at least is not linear."""

    def __init__(self, maps: Sequence[Map]) -> None:
        super().__init__(maps[0].shape, maps[-1].out, maps[-1].support)
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        for each in self.maps:
            x = each.forward(x)
        return x


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
        linear = [each for each in maps if isinstance(each, LinearMap)]
        return ComposedMap(linear) if len(linear) == len(maps) else NonlinearChain(maps)


def _answered(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a user's function makes of states; InputError unless a tensor of as many rows."""
    with torch.no_grad():
        out = function(x)
    if not isinstance(out, Tensor) or not out.ndim or len(out) != len(x):
        raise InputError("operator.function: it must answer a tensor of as many rows as x")
    return out


@final
class FunctionMap(Map):
    """A(x) by a differentiable function of [N, *shape]."""

    def __init__(self, function: Callable[[Tensor], Tensor], shape: Sequence[int]) -> None:
        out = _answered(function, torch.zeros(2, *shape))
        super().__init__(shape, out.shape[1:])
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@final
class LinearFunctionMap(LinearMap):
    """A x by a linear function, A^T y by its derivative unless a function is given."""

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor] | None,
        shape: Sequence[int],
    ) -> None:
        self.function, self.given = function, adjoint
        generator = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 2, *shape, generator=generator, dtype=torch.float64)
        one, other, sum_of = (_answered(function, x) for x in (a, b, 2 * a - 3 * b))
        if not torch.allclose(sum_of, 2 * one - 3 * other, rtol=1e-6, atol=1e-8):
            raise InputError(
                "operator.function: A(2 a - 3 b) is not 2 A(a) - 3 A(b); give linear=False"
            )
        super().__init__(shape, one.shape[1:])
        y = torch.randn(2, *self.out, generator=generator, dtype=torch.float64)
        left, right = (one * y).sum(), (a * self.adjoint(y)).sum()
        if not torch.allclose(left, right, rtol=1e-6, atol=1e-8):
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
