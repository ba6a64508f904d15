"""Batches go to a device: to a GPU from pinned memory, without waiting; elsewhere as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.system.devices import sent


@pytest.mark.parametrize("device", ["cuda", torch.device("cuda:1"), "cpu", torch.device("meta")])
def test_only_a_gpu_is_sent_pinned_memory_and_not_waited_for(
    device: torch.device | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def pinned(x: Tensor) -> Tensor:
        asked.append("pinned")
        return x

    def moved(x: Tensor, *where: Any, **how: Any) -> Tensor:
        asked.append((*where, how))
        return x

    monkeypatch.setattr(Tensor, "pin_memory", pinned)
    monkeypatch.setattr(Tensor, "to", moved)
    x = torch.arange(3)
    assert sent(x, device) is x
    on_gpu = torch.device(device).type == "cuda"
    assert asked == (["pinned", (device, {"non_blocking": True})] if on_gpu else [(device, {})])
