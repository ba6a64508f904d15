"""What does noise cost, beside one generator a sample?

Run it with OMP_WAIT_POLICY=passive: a thread of torch that waits for another one spins, and on a
machine with other work that would be most of the processor time of two threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import render
import torch
from noise_old import CASES, Work, batch, steps

import sde_diffusion
from sde_diffusion.process.noise.draws import AHEAD
from sde_diffusion.process.noise.engines import HostEngine
from sde_diffusion.process.noise.philox import philox, round_keys

ROUNDS = 15
# The promise: at most this many times the processor time of one generator a sample.
TARGET = 1.5
# Operations a number, each a pass through memory, as philox.py and box_muller.py have them: 62 a
# counter of four numbers, and 63 a word of two, which are then stored.
PASSES = {"philox": 62 / 4, "box_muller": 65 / 2}


def least(works: Sequence[Work]) -> list[float]:
    """Least milliseconds of processor time, of all threads, in turn.

    Other work on the machine only adds to it.
    """
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS + 1):
        for times, work in zip(spent, works, strict=True):
            start = time.process_time()
            work()
            times.append(1000 * (time.process_time() - start))
    return [min(times[1:]) for times in spent]


def row(
    label: str, case: Callable[[tuple[int, ...]], tuple[Work, Work]], shape: tuple[int, ...]
) -> list[str]:
    """Old, new and their ratio with one thread, and the ratio with two."""
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        draws = AHEAD if case is steps else 1
        found.append([milliseconds / draws for milliseconds in least(case(shape))])
    (old, new), (old_2, new_2) = found
    nanoseconds = 1e6 * new / np.prod(shape)
    size = " x ".join(map(str, shape))
    ratios = [f"{r:.2f}" if r <= TARGET else f"**{r:.2f}**" for r in (new / old, new_2 / old_2)]
    return [label, size, f"{old:.3g}", f"{new:.3g}", f"{nanoseconds:.3g}", *ratios]


def limits() -> dict[str, float]:
    """What a training batch is made of, in nanoseconds a number: ten rounds alone, a pass."""
    rows, columns = 8, HostEngine.block // 8
    engine, keys = HostEngine(), round_keys([0])
    lanes = engine.lanes(2, (2, rows, columns))
    row, word = np.arange(rows)[:, None], engine.filled(1)
    numbers, others = np.ones((2, 2 * HostEngine.block))
    one = np.ones(())

    def ten_rounds() -> None:
        with engine.broadcasting():
            philox(engine, np.arange(columns), row, row, word, keys, *lanes)

    def two_passes() -> None:
        np.multiply(numbers, others, out=numbers)
        np.multiply(numbers, one, out=numbers)

    shape = (64, 4, 64, 64)
    old = 1e6 * least(batch(shape)[:1])[0] / np.prod(shape)
    count = 4 * HostEngine.block
    rounds, passes = (1e6 * t for t in least([ten_rounds, two_passes]))
    return {"old": float(old), "rounds": rounds / count, "pass": passes / 2 / len(numbers)}


@torch.no_grad()
def forward(rows: int) -> float:
    """Milliseconds of the shipped digits network on so many images: what noise is beside."""
    denoiser = sde_diffusion.load("mnist-large").denoiser
    x, sigma = torch.zeros(rows, *denoiser.shape), torch.ones((), dtype=torch.float64)
    return least([lambda: denoiser(x, sigma, None)])[0]


def main() -> None:
    """Write noise.md."""
    start = time.perf_counter()
    rows = [row(*case) for case in CASES]
    head = ["what is drawn", "rows x shape", "old, ms", "new, ms", "new, ns a value",
            "new / old, 1 thread", "2 threads"]  # fmt: skip
    torch.set_num_threads(1)
    network, limit = forward(128), limits()
    values = {
        "rounds": ROUNDS,
        "target": TARGET,
        "rows": render.table(head, rows),
        "ahead": AHEAD,
        "limit": {
            **limit,
            "passes": sum(PASSES.values()),
            "philox": PASSES["philox"],
            "allowed": TARGET * limit["old"] / limit["pass"],
            "share": limit["rounds"] / limit["old"],
        },
        "network": network,
        "waiting": os.environ.get("OMP_WAIT_POLICY", "active"),
        "seconds": time.perf_counter() - start,
    }
    render.page("noise", values)


if __name__ == "__main__":
    main()
