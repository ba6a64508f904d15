"""A pretend device: tensors that lie on the CPU, say that they do not, and tell what crosses.

A ``FarTensor`` reports the device ``meta``, so that code which looks at devices takes the way that
it would take on an accelerator, and holds its values in a tensor of the CPU. While ``FarDevice`` is
entered, each operation is done on the CPU and checked as an accelerator would: tensors of both
places meet only where one of them is a single number. Logged are

    reads: operations that wait for the device, because the host must know a value: ``item``,
        ``bool``, copies to the host, shapes that depend on values;
    copies: tensors that go to the device. A number that is an argument of a kernel is none.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("meta")
ATEN = torch.ops.aten
# The host must know a value.
READS = (
    ATEN._local_scalar_dense, ATEN.is_nonzero, ATEN.equal, ATEN.nonzero, ATEN.masked_select,
    ATEN._unique2, ATEN.unique_dim, ATEN.unique_consecutive, ATEN.allclose, ATEN.repeat_interleave,
)  # fmt: skip
COPIES = (ATEN._to_copy, ATEN.copy_, ATEN._to_cpu)
INDEXED = (ATEN.index, ATEN.index_put_, ATEN.index_put, ATEN._index_put_impl_)


class FarTensor(Tensor):
    """The values of ``near``, elsewhere."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor, requires_grad: bool = False) -> FarTensor:
        found: FarTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(),
            dtype=near.dtype, device=FAR, requires_grad=requires_grad,
        )  # fmt: skip
        found.near = near
        return found

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"FarTensor({tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} of a far tensor, and no device entered")


class Constants(TorchFunctionMode):
    """Python's and numpy's numbers as far tensors: made on the host, then copied."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class FarDevice(TorchDispatchMode):
    """Logs what is read of the device and what is copied to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.copies: list[str] = []
        self.constants = Constants()

    def clear(self) -> None:
        self.reads.clear()
        self.copies.clear()

    def __enter__(self) -> FarDevice:
        super().__enter__()
        self.constants.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.constants.__exit__(kind, value, trace)
        super().__exit__(kind, value, trace)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        flat, _ = tree_flatten((args, kwargs))
        tensors = [value for value in flat if isinstance(value, Tensor)]
        far = [value for value in tensors if isinstance(value, FarTensor)]
        made_far = kwargs.get("device") is not None and torch.device(kwargs["device"]) == FAR
        packet = func.overloadpacket
        if not far and not made_far:
            return func(*args, **kwargs)
        near = [v for v in tensors if not isinstance(v, FarTensor)]
        to_far = self._logged(func, packet, args, kwargs, bool(far), near, made_far)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        done = func(*tree_map(_near, args), **tree_map(_near, kwargs))
        return tree_map(self._wrapper(far), done) if to_far else done

    def _logged(
        self,
        func: Any,
        packet: Any,
        args: Any,
        kwargs: dict[str, Any],
        has_far: bool,
        near: list[Tensor],
        made_far: bool,
    ) -> bool:
        """Whether the answer is far; crossings are told."""
        name = str(packet)
        if packet is ATEN._to_copy:
            goes = kwargs.get("device")
            there = has_far if goes is None else torch.device(goes) == FAR
            if has_far and not there:
                self.reads.append(name)
            if not has_far and there:
                self.copies.append(name)
            return there
        if packet is ATEN.copy_:
            to, source = args[0], args[1]
            if isinstance(to, FarTensor) and not isinstance(source, FarTensor):
                self.copies.append(name)
            if not isinstance(to, FarTensor):
                self.reads.append(name)
            return isinstance(to, FarTensor)
        if packet in READS:
            self.reads.append(name)
            return packet is not ATEN._local_scalar_dense and packet is not ATEN.equal
        if packet in INDEXED:
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    self.reads.append(f"{name} by a mask")
                elif index is not None and not isinstance(index, FarTensor):
                    self.copies.append(f"{name} by numbers of the host")
            near = [v for v in near if all(v is not index for index in args[1])]
        wrong = [tuple(v.shape) for v in near if v.ndim]
        assert not wrong, f"{func}: tensors {wrong} of the host meet tensors of the device"
        return True

    def _wrapper(self, far: list[FarTensor]) -> Callable[[Any], Any]:
        """Of what an operation gave: the same object where it was done in place."""

        def wrap(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            same = [one for one in far if one.near is value]
            return same[0] if same else FarTensor(value)

        return wrap


def _near(value: Any) -> Any:
    return value.near if isinstance(value, FarTensor) else value
