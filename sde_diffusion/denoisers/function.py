"""Any callable as a denoiser, under a contract that is checked."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.evaluating import evaluating, modules_of
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS, Parameterization
from sde_diffusion.denoisers.space import Space
from sde_diffusion.errors import InputError
from sde_diffusion.system.spelling import none_of

PREDICTS = ("x0", "epsilon", "v", "flow", "score")
COMPILED = "_torchdynamo_orig_callable"  # of a function that torch.compile made
Extra = Callable[[Condition | None, Tensor], tuple[Any, ...]]


class FunctionDenoiser(CountedDenoiser):
    """D = c_skip(sigma) x + c_out(sigma) F(x, sigma, *extra) for a callable F.

    The callable is given a copy of x = x_0 + sigma n [N, *shape] and sigma [N] of the dtype of x,
    by every solver, and answers with the shape of x; a module is asked in the dtype of its weights,
    and what cannot work in float64, the state of a likelihood, in float32. Modules that it is, or
    names, are in evaluation mode while it is asked. Outside of modules and of compiled functions
    ``sigma`` stands for its row in arithmetic with x, so that ``x / (1 + sigma**2)`` means what it
    says for any N.

    Args:
        model: F. space: of x, a shape or a ``Space``.
        sigma_min, sigma_max: noise levels that it may be asked at.
        predicts: what F answers: ``x0``, ``epsilon`` (the noise n), ``v`` (alpha n - s x_0 with
            alpha^2 + s^2 = 1, s / alpha = sigma), ``flow`` (n - x_0) or ``score``.
        ends: whether it is a consistency function, whose answer is an end of a path.
        extra: what F is given beside, from the condition of the rows and x; nothing as it stands.
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        space: Sequence[int] | Space,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        predicts: str = "x0",
        extra: Extra | None = None,
        ends: bool = False,
    ) -> None:
        super().__init__(space, sigma_min, sigma_max)
        if not callable(model):
            raise InputError(f"model={model!r}: give a callable model(x, sigma)")
        if isinstance(model, type):
            raise InputError(f"model={model.__name__}: a class; give an object of it")
        if not 0 < sigma_min < sigma_max:
            raise InputError(
                f"sigma_min={sigma_min:g}: give 0 < sigma_min < sigma_max={sigma_max:g}"
            )
        if predicts not in PREDICTS:
            raise none_of("predicts", predicts, PREDICTS)
        self.model, self.predicts, self.extra = model, predicts, extra or nothing
        self._ends = ends
        self._prediction: Parameterization = PARAMETERIZATIONS[predicts]()
        self._identity = f"function-{uuid.uuid4().hex[:16]}"
        self._dtype: torch.dtype | None = None  # that F was found to work in
        self._named = modules_of(model)
        self._compiled = isinstance(model, nn.Module) or hasattr(model, COMPILED)

    @property
    def ends(self) -> str:
        return "consistency" if self._ends else ""

    @property
    def identity(self) -> str:
        """Of this object alone: what a function does is known by no content."""
        return self._identity

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        if sigma.ndim == 0 and sigma.device.type == "cpu":  # a number, which need not be copied
            levels = torch.full((len(x),), float(sigma), dtype=x.dtype, device=x.device)
        else:
            levels = sigma.reshape(-1).to(x).expand(len(x)).contiguous()
        answer = checked_answer(self._answer(x, levels, self.extra(cond, x)), x).to(x.dtype)
        if x.requires_grad and torch.is_grad_enabled() and not answer.requires_grad:
            raise InputError(
                "model: its answer carries no gradient, which a likelihood takes; leave "
                "torch.no_grad and detach out of it"
            )
        if self.predicts == "x0":
            return answer.clone()  # of a buffer that the model fills anew, solvers keep the earlier
        column = levels.reshape(-1, *[1] * (x.ndim - 1))
        p = self._prediction
        return p.c_skip(column) * x + p.c_out(column) * answer

    def _answer(self, x: Tensor, levels: Tensor, extra: tuple[Any, ...]) -> Any:
        """F of copies, in the dtype of x or of a module's weights, or in float32 where it cannot
        work in float64."""
        dtype = self._dtype or _weights_dtype(self.model) or x.dtype
        try:
            return self._called(x, levels, extra, dtype)
        except RuntimeError as error:
            if dtype is not torch.float64:
                raise
            try:
                answer = self._called(x, levels, extra, torch.float32)
            except Exception:
                raise error from None  # it was not the dtype
            self._dtype = torch.float32
            return answer

    def _called(self, x: Tensor, levels: Tensor, extra: tuple[Any, ...], dtype: torch.dtype) -> Any:
        levels = levels.to(dtype, copy=True)  # which may be written to, as x may
        marked = levels if self._compiled else levels.as_subclass(RowLevels)
        with evaluating(self._named):
            return self.model(x.to(dtype, copy=True), marked, *extra)


def checked_answer(answer: Any, x: Tensor) -> Tensor:
    """What a callable answered to x; InputError unless dense floats of its shape and device."""
    if not isinstance(answer, Tensor):
        raise InputError(
            f"model: it answered a {type(answer).__name__}; return a tensor "
            f"{tuple(x.shape)}, the shape of x"
        )
    if answer.shape != x.shape or not answer.is_floating_point():
        raise InputError(
            f"model: it answered {tuple(answer.shape)} of {answer.dtype}; return "
            f"{tuple(x.shape)}, the shape of x, in floating point{_half(answer, x)}"
        )
    if answer.layout is not torch.strided or answer.device != x.device:
        kind = f"on {answer.device}, {answer.layout}"
        if answer.is_meta:
            kind = "a meta tensor, without numbers"
        raise InputError(f"model: it answered {kind}; return a dense tensor on {x.device}")
    return answer.as_subclass(Tensor) if isinstance(answer, RowLevels) else answer


def _half(answer: Tensor, x: Tensor) -> str:
    """What to return of twice as many channels."""
    shape = list(x.shape)
    if list(answer.shape) != [shape[0], 2 * shape[1], *shape[2:]]:
        return ""
    return f"; of one that learns its variance the first half, answer[:, :{shape[1]}]"


def nothing(cond: Condition | None, x: Tensor) -> tuple[()]:
    """What a model without conditions is given: no more than x and sigma."""
    return ()


def null_label(classes: int) -> Extra:
    """The label int64 [N] of each row; ``classes``, one more than the last, where there is none."""

    def read(cond: Condition | None, x: Tensor) -> tuple[Tensor]:
        if cond is None or LABEL not in cond:
            return (torch.full((len(x),), classes, dtype=torch.int64, device=x.device),)
        label = cond.parts[LABEL]
        return (torch.where(label.keep, label.value, classes),)

    return read


def whole_condition(cond: Condition | None, x: Tensor) -> tuple[Condition | None]:
    """The condition itself."""
    return (cond,)


def _weights_dtype(model: Any) -> torch.dtype | None:
    """Of a module's first weights in floating point; None of what is no module, or has none."""
    weights = model.parameters() if isinstance(model, nn.Module) else ()
    return next((w.dtype for w in weights if w.is_floating_point()), None)


class RowLevels(Tensor):
    """One number a row, [N], which in arithmetic with [N, ...] multiplies its own row.

    Plain broadcasting aligns the last sides: [N] against [N, C, W] would pair rows with columns
    where N = W, without a word, or be an error. What is made of it alone and is [N] is so too.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name, keywords = getattr(func, "__name__", ""), dict(kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():
            operands = [a for a in (*args, *keywords.values()) if isinstance(a, Tensor)]
            if name in OF_ONE and operands[0].numel() > 1:
                raise InputError(
                    f"model: one number was asked of sigma, which is [{operands[0].numel()}], a "
                    "level a row; reckon with it as a tensor, or take sigma[0] where all are equal"
                )
            rank = max((a.ndim for a in operands), default=0)
            if rank > 1 and ALIGNED.fullmatch(name):
                args = [_column(a, rank) for a in args]
                keywords = {key: _column(a, rank) for key, a in keywords.items()}
            answer = func(*args, **keywords)
            if not isinstance(answer, Tensor):
                return answer
            rows = {len(a) for a in operands if isinstance(a, RowLevels) and a.ndim}
            alone = rank <= 1 or name in ALIKE
            one_a_row = alone and answer.ndim == 1 and (not rows or len(answer) in rows)
            return answer.as_subclass(cls if one_a_row else Tensor)


# What makes a plain number of a tensor of one.
OF_ONE = ("__float__", "__int__", "__bool__", "__index__", "item")
ALIKE = ("to", "type_as")  # of one operand, and of another one's type
# Operations of several operands, each number with each.
ALIGNED = re.compile(
    r"(__[ir]?)?(add|sub|mul|(true)?div|floordiv|mod|true_divide|pow|lt|gt|le|ge|eq|ne)_{0,2}|rsub|"
    r"(multipl|div|floor_div|subtract)[yide]*_?|float_power_?|(clamp|clip)(_min|_max)?_?|f?(max|min)|"
    r"(max|min)imum|where|lerp_?|addc(mul|div)_?|hypot_?|a(rc)?tan2_?|copysign_?|fmod_?|remainder_?|"
    r"xlogy_?|logaddexp2?|heaviside_?|greater(_equal)?|less(_equal)?|not_equal"
)


def _column(value: Any, rank: int) -> Any:
    """Levels as [N, 1, ...] of that rank; anything else as it is."""
    if not isinstance(value, RowLevels):
        return value
    return value.as_subclass(Tensor).reshape(-1, *[1] * (rank - 1))
