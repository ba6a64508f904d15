"""Steps are judged on the device, and the host is told the same whenever it asks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sde_diffusion.training.clip import clip
from sde_diffusion.training.trainer import ASKED
from sde_diffusion.training.watch import StepWatch
from tests.far import FAR, READS, FarDevice
from tests.training.small import CONFIG, trainer

GOOD, BAD = torch.tensor(2.0), torch.tensor(math.nan)


def judged(watch: StepWatch, step: int, value: Tensor) -> float:
    """Of a step whose rows are its number."""
    rows = torch.full((2,), float(step))
    return float(watch.judge(step, value, torch.tensor(1.0), rows, 10 * rows))


def test_it_counts_as_a_host_that_asks_at_each_step() -> None:
    watch, smoothed = StepWatch(3), math.nan
    for step in range(1, 30):
        bad = step % 4 in (0, 1)
        value = torch.tensor(1.0 + step)
        assert judged(watch, step, BAD if bad else value) == bad
        if not bad:
            smoothed = (
                value.item() if math.isnan(smoothed) else 0.99 * smoothed + 0.01 * value.item()
            )
    assert watch.skipped == 15
    assert watch.failures == 2  # 28 and 29
    assert watch.asked() is None
    assert float(watch.smoothed) == pytest.approx(smoothed, rel=1e-5)


@pytest.mark.parametrize("later", [0, 1, 9])
def test_after_so_many_bad_steps_none_is_taken_and_the_last_is_told(later: int) -> None:
    watch = StepWatch(3)
    for step in range(1, 6):
        judged(watch, step, GOOD if step < 3 else BAD)
    for step in range(6, 6 + later):
        assert judged(watch, step, GOOD) == 1
    trouble = watch.asked()
    assert trouble is not None
    assert (trouble.step, trouble.losses, trouble.sigma) == (5, [5.0, 5.0], [50.0, 50.0])
    assert (watch.skipped, watch.failures) == (3, 3)


def test_it_goes_on_from_what_a_checkpoint_keeps() -> None:
    watch, other = StepWatch(3), StepWatch(3)
    for step, value in enumerate((GOOD, BAD, BAD)):
        judged(watch, step, value)
    other.restore(*watch.tensors().values())
    for each in (watch, other):
        assert each.asked() is None
        judged(each, 3, BAD)
        assert each.asked() is not None


def test_neither_it_nor_clipping_waits_for_a_device() -> None:
    layer = nn.Linear(3, 2)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    expected = clip(list(layer.parameters()), 0.5)
    with FarDevice() as log:
        gradients = [torch.ones(2, 3, device=FAR), torch.ones(2, device=FAR)]
        held: list[Any] = [Holds(g) for g in gradients]
        watch = StepWatch(3, FAR)
        log.clear()
        length = clip(held, 0.5)
        rows = torch.ones(2, device=FAR)
        watch.judge(1, rows.sum(), length, rows, rows)
        assert (log.reads, log.copies) == ([], [])
        assert float(length) == expected
        for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
            assert torch.equal(gradient.cpu(), parameter.grad)  # type: ignore[arg-type]


class Holds:
    """A gradient, as a parameter has it."""

    def __init__(self, grad: Tensor) -> None:
        self.grad = grad


class Reads(TorchDispatchMode):
    """What the host is told of values of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in READS:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_step_tells_the_host_nothing_until_it_asks(tmp_path: Path) -> None:
    """But for three questions, to the host's own memory alone: the ends of the levels, in the
    denoiser's check, and whether gradients are short enough, in ``clip``."""
    config = replace(CONFIG, steps=2 * ASKED, save_every=2 * ASKED)
    run = trainer(tmp_path, config)
    steps = run.run()
    next(steps)  # makes what later steps keep
    for step in range(2, ASKED + 1):
        with Reads() as log:
            next(steps)
        assert len(log.seen) == (3 if step < ASKED else 5), (step, log.seen)
