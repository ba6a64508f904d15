"""What does an image of 512 x 512 cost beside its network: noise, parts, the archive? wide.md."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import render
import torch
import torch.nn.functional as F

from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.process.noise import Seeds
from sde_diffusion.tasks.drawn import DRAWN, DrawnSamples

IMAGES, PROCESSES, SIDE = 50_000, 64, 512
BATCH, ROUNDS = 4, 5
NFE, MS = 20, 50.0  # of the example: evaluations an image, and milliseconds of each on its device


def pictures() -> torch.Tensor:
    """Smooth over 8 pixels, with the grain of a photograph: [BATCH, 3, SIDE, SIDE]."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(BATCH, 3, SIDE // 8, SIDE // 8, generator=draw)
    smooth = F.interpolate(coarse, scale_factor=8, mode="bicubic")
    return 0.3 * smooth + 0.015 * torch.randn(smooth.shape, generator=draw)


def cost(work: Callable[[], Any]) -> float:
    """Median processor milliseconds of an image, of ``work`` on BATCH of them."""
    seconds = []
    for _ in range(1 + ROUNDS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return 1000 * statistics.median(seconds[1:]) / BATCH


def main() -> None:
    """Measure and write wide.md."""
    torch.set_num_threads(1)
    x, seeds = pictures(), list(range(BATCH))
    images = to_uint8(x)
    facts = {"n": BATCH, "nfe": 1.0, "backward_passes": 0.0, "seconds": 0.0, "labels": None}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.safetensors"
        work: dict[str, Callable[[], Any]] = {
            "noise of the start, 3 x 512 x 512": lambda: Seeds().start(seeds, (3, SIDE, SIDE)),
            "the same of latents, 4 x 64 x 64": lambda: Seeds().start(seeds, (4, 64, 64)),
            "pixels of a state": lambda: to_uint8(x),
            "its share of a part, written": lambda: DRAWN.write(path, {"images": images}, facts),
            "read from the part, and packed as a PNG": lambda: packed(path),
        }
        ms = {name: cost(each) for name, each in work.items()}
        part, png = path.stat().st_size / BATCH, len(packed(path)) / BATCH
    last = list(ms.values())[-1]
    hours = IMAGES * last / 3.6e6
    drawing = IMAGES * NFE * MS / 3.6e6 / PROCESSES
    render.page(
        "wide",
        {
            "table": render.table(["of an image", "processor ms"], list(ms.items())),
            "batch": BATCH, "rounds": ROUNDS, "images": IMAGES, "processes": PROCESSES,
            "nfe": NFE, "ms": MS,
            "parts_gb": IMAGES * part / 1e9, "zip_gb": IMAGES * png / 1e9,
            "kb": png / 1e3, "hours": hours, "drawing": drawing,
            "even": last * PROCESSES / NFE,
        },
        ["what a network costs on a device is not measured here: no GPU was at hand"],
    )  # fmt: skip


def packed(path: Path) -> bytes:
    """The archive of the part at ``path``."""
    archive = io.BytesIO()
    DrawnSamples([path], list(range(BATCH))).write_zip(archive)
    return archive.getvalue()


if __name__ == "__main__":
    main()
