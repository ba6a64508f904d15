"""What does a training step cost beside diffusers' training loop, on the same UNet2DModel?

diffusers is needed: the extra [peers].
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import render
import torch
from throughput_loops import (
    BATCH,
    IMAGES,
    ROUNDS,
    STEPS,
    WARM,
    WIDTHS,
    ours,
    steps_of,
    theirs,
    unet,
)
from torch import Tensor

from sde_diffusion.config.compose import compose_task, plain, read
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.provenance import machine
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.settings import BESIDE, TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer

PRECISIONS = ("float32", "bfloat16")


def timed(steps: Iterator[Any]) -> tuple[float, float]:
    """Seconds of one step: wall time and processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    next(steps)
    return time.perf_counter() - wall, time.process_time() - cpu


class Stopwatch:
    """Processor seconds of our loop in the network's forward, backward and the optimizer."""

    def __init__(self, run: Trainer) -> None:
        self.seconds = 0.0
        network, optimizer = run.denoiser.network, run.state.optimizer
        network.forward = self.measured(network.forward)  # type: ignore[method-assign]
        optimizer.step = self.measured(optimizer.step)  # type: ignore[method-assign]
        Tensor.backward = self.measured(Tensor.backward)  # type: ignore[method-assign]

    def measured(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            out = call(*args, **kwargs)
            self.seconds += time.process_time() - began
            return out

        return wrapper


def recipe(name: str) -> Trainer:
    """The run of ``sde-diffusion train experiment=NAME``, on random pixels of its shape."""
    config = compose_task(["task=train", f"experiment={name}"])
    side = {"digits": 8, "mnist": 28}[name]
    images = IMAGES[:, :1, :side, :side].contiguous()
    fields = {k: v for k, v in plain(config.network).items() if k != "_target_"}
    args = {**fields, "channels": 1, "classes": 10}
    spec = Spec("unet", args, "karras", {}, (1, side, side), classes=10)
    data = ImageSet(images, torch.arange(len(images)) % 10, 10, "random pixels")
    settings = replace(read(config, TrainConfig, *BESIDE), save_every=STEPS)
    return Trainer(spec, data, Parts(LogNormal()), settings, Path(tempfile.mkdtemp()))


def outside(run: Trainer) -> float:
    """Median share of a run's step outside forward, backward and optimizer, of processor time."""
    kept = Tensor.backward
    watch, steps, shares = Stopwatch(run), steps_of(run), []
    try:
        for _ in range(WARM + ROUNDS):
            watch.seconds = 0.0
            _, cpu = timed(steps)
            shares.append(1 - watch.seconds / cpu)
    finally:
        Tensor.backward = kept  # type: ignore[method-assign]
    return statistics.median(shares[WARM:])


def measure(precision: str) -> dict[str, Any]:
    """Medians of interleaved steps of the three loops, wall and processor seconds."""
    loops = {
        "ours": steps_of(ours(precision)),
        "diffusers, EMA": theirs(precision, ema=True),
        "diffusers, tutorial": theirs(precision, ema=False),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for k in range(WARM + ROUNDS):
        # Whoever comes first in a round is not always the same.
        names = list(loops)[k % 3 :] + list(loops)[: k % 3]
        for name in names:
            times[name].append(timed(loops[name]))
    medians = {
        name: [statistics.median(column) for column in zip(*values[WARM:], strict=True)]
        for name, values in times.items()
    }
    ratios = {
        name: [
            statistics.median(
                theirs[i] / own[i]
                for theirs, own in zip(times[name][WARM:], times["ours"][WARM:], strict=True)
            )
            for i in (0, 1)
        ]
        for name in loops
    }
    return {"medians": medians, "ratios": ratios}


def main() -> None:
    """Measure and write throughput.md."""
    torch.set_num_threads(1)
    found = {precision: measure(precision) for precision in PRECISIONS}
    rows = [
        [precision, name, f"{wall:.3f}", f"{cpu:.3f}", f"{BATCH / cpu:.1f}",
         *(f"{ratio:.3f}" for ratio in result["ratios"][name])]
        for precision, result in found.items()
        for name, (wall, cpu) in result["medians"].items()
    ]  # fmt: skip
    weights = sum(p.numel() for p in unet().parameters())
    runs = {
        **{f"UNet2DModel, {precision}": ours(precision) for precision in PRECISIONS},
        **{f"experiment={name}": recipe(name) for name in ("mnist", "digits")},
    }
    shares = [
        [name, str(run.config.batch_size), run.config.precision, f"{100 * outside(run):.1f} %"]
        for name, run in runs.items()
    ]
    head = ["precision", "loop", "s a step", "processor s", "images / processor s",
            "time / ours", "processor / ours"]  # fmt: skip
    text = [
        "# What a training step costs",
        f"The same `UNet2DModel` ({weights / 1e6:.1f} M weights, widths {list(WIDTHS)}), the same "
        f"batch ({BATCH} images of 3 x 32 x 32), one thread, the same precision. *Ours* is "
        "`Trainer` with the defaults of `sde-diffusion train`: finite loss and gradient checked, "
        "gradients clipped, power-function EMA, progress bar. *diffusers* is the loop of its "
        "documentation (`add_noise`, MSE, AdamW, clipping, cosine schedule), with `EMAModel` as "
        "in its training example's `--use_ema`, and as in its tutorial, which keeps no average. "
        "Its data loader gets tensors instead of image files, and no accelerator object stands "
        "around it: neither would make it faster.",
        render.markdown(head, rows),
        f"Medians of {ROUNDS} interleaved steps after {WARM}; *time / ours* is the median of the "
        "ratios of the steps of one round: above 1, that loop is slower. Processor time is not "
        "lengthened by other processes; wall time is.",
        "The share of our step outside the network's forward, the backward pass and the "
        "optimizer: batch, noise, preconditioning, loss, clipping, EMA, checks, bar. Of processor "
        f"time, median of {ROUNDS} steps; the last two rows are the recipes of this package.",
        render.markdown(["run", "batch", "precision", "share outside"], shares),
        "No GPU was at hand: what bfloat16, channels-last and `compile=true` are worth on one is "
        "not measured.",
        "## Where the numbers come from",
        "\n".join(
            ["- command: `python benchmarks/throughput.py`"]
            + [f"- {key}: {value}" for key, value in machine().items()]
        ),
    ]
    render.written("throughput", "\n\n".join(text) + "\n")
    print("\n\n".join(text))


if __name__ == "__main__":
    main()
