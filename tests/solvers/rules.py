"""A calibration that belongs to no model: what the tests of all solvers run ``calibrated`` on.

Written in the format of its file by hand, in plain numbers that the scalar recursion reads too.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import save_file

SIGMA_MAX, SIGMA_MIN, REST, D = 80.0, 0.002, 0.4, 1
CALLS = range(1, 65)
_FOLDER = TemporaryDirectory(prefix="rules-")


def numbers(n: int) -> tuple[list[float], list[float], list[list[float]]]:
    """Levels [n + 1], levels asked [n] and lower triangular weights [n, n] of a rule."""
    a, b = 20.0 ** (1 / 7), SIGMA_MIN ** (1 / 7)
    levels = [(a + k / n * (b - a)) ** 7 for k in range(n + 1)]
    levels[-1] = SIGMA_MIN
    asked = [max(0.9 * level, SIGMA_MIN) for level in levels[:-1]]
    weights = [[0.0] * n for _ in range(n)]
    for i, row in enumerate(weights):
        for j in range(i + 1):
            share = 0.95 if j == i else 0.05 * 0.3 ** (i - j)
            row[j] = share * (levels[i + 1] - levels[i])
    return levels, asked, weights


@lru_cache
def path() -> str:
    """The file, written once a process."""
    tensors = {
        "mean": np.zeros(D, dtype=np.float32),
        "modes": np.zeros((0, D), dtype=np.float32),
        "variances": np.zeros(0, dtype=np.float32),
    }
    for n in CALLS:
        for name, value in zip(("levels", "asked", "weights"), numbers(n), strict=True):
            tensors[f"{n}.{name}"] = np.array(value)
    facts = {
        "format": 1, "model": "", "conditional": False, "shape": [D], "sigma_max": SIGMA_MAX,
        "rest": REST, "rules": list(CALLS), "kind": "scalar", "edges": [], "facts": {},
    }  # fmt: skip
    file = Path(_FOLDER.name) / "rules.safetensors"
    save_file(tensors, file, {"sde_diffusion_calibration": json.dumps(facts)})
    return str(file)
