"""A comparison of two solvers, one of them with a name that no page should obey."""

from __future__ import annotations

from typing import Any

import torch

from sde_diffusion.report import Comparison
from sde_diffusion.report.comparison import PROTOCOL, point
from sde_diffusion.report.ranking import Ranking, Standing
from sde_diffusion.sampling.film import Film

UNSAFE = "<b>uni&pc</b>"


def row(solver: str, nfe: float, samples: int, fd: float, low: float | None) -> dict[str, Any]:
    known = low is not None
    return {
        **dict.fromkeys(PROTOCOL, ""),
        "solver": solver, "nfe": nfe, "samples": samples, "block": 0, "fd": fd, "floor": 0.5,
        "floor_debiased": None, "seconds": 1.25, "ms_per_image": nfe, "fd_low": low,
        "fd_debiased": low + 0.1 if known else None, "fd_high": low + 0.2 if known else None,
        "standard_error": 0.05 if known else None, "seeds": "0-499", "grid": "Karras",
        "note": "", "kid": 0.01, "kid_error": 0.001, "revision": "abc1234",
    }  # fmt: skip


ROWS = [
    row("ddim", 4.0, 100, 9.0, None),
    row("ddim", 4.0, 500, 7.0, 6.0),
    row("ddim", 8.0, 100, 4.0, None),
    row("ddim", 8.0, 500, 3.0, -0.15),
    row(UNSAFE, 4.0, 100, 2.5, None),
    row(UNSAFE, 4.0, 500, 2.0, 1.0),
    row(UNSAFE, 8.0, 100, 5.5, None),
    row(UNSAFE, 8.0, 500, 5.0, 4.0),
]
RANKINGS = [
    Ranking(4.0, 500, [Standing(UNSAFE, 1, 2.0, 1.1),
                       Standing("ddim", 2, 7.0, 6.1, 5.0, 4.5, 5.5, False)], "two at once"),
    Ranking(8.0, 500, [Standing("ddim", 1, 3.0, 2.1),
                       Standing(UNSAFE, 2, 5.0, 4.1, 2.0, -0.5, 4.5, True, 784)], "two at once"),
]  # fmt: skip
PIXELS = torch.full((3, 1, 4, 4), 200, dtype=torch.uint8)
FILM = Film(torch.tensor([80.0, 1.0]), PIXELS.repeat(3, 1, 1, 1, 1), PIXELS.repeat(3, 1, 1, 1, 1))
FACTS = {"model": "mnist", "metric": "FD[mnist-cnn]", "date": "2026-01-01",
         "config": {"nfe": [4, 8]}, "cells": []}  # fmt: skip
COMPARISON = Comparison(
    ROWS,
    [point([r], r) for r in ROWS],
    RANKINGS,
    {500: {name: ROWS[1][name] for name in ("samples", "fd", "fd_debiased", "fd_low", "fd_high")}},
    {(s, n): PIXELS for s in ("ddim", UNSAFE) for n in ("4", "8")},
    FACTS,
    {"ddim": FILM, UNSAFE: FILM},
)
