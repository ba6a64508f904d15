"""What crosses between devices."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Crossings(TorchDispatchMode):
    """Logs every operation that has tensors of two devices."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [v for v in (*args, *(kwargs or {}).values(), out) if isinstance(v, Tensor)]
        if len({v.device for v in tensors}) > 1:
            self.seen.append(str(func))
        return out
