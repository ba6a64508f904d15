"""Whether this machine computes the very bits of the one that a file was recorded on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy
import torch
import torchsde


def processor() -> str:
    """The vector instructions that torch uses, and the processor's kind where Linux tells it.

    Convolutions and matrix products choose their kernels by it, and the order of a sum with them.
    """
    file = Path("/proc/cpuinfo")
    rows = [x.partition(":") for x in (file.read_text().splitlines() if file.is_file() else [])]
    known = {key.strip(): value.strip() for key, _, value in reversed(rows)}
    kind = [known.get(key, "?") for key in ("model name", "cpu family", "model")]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *kind])


def here() -> dict[str, str]:
    """What the bits of a sample depend on beside the package."""
    return {
        "torch": torch.__version__, "numpy": np.__version__, "scipy": scipy.__version__,
        "torchsde": torchsde.__version__, "processor": processor(),
    }  # fmt: skip


def differences(recorded: Mapping[str, str]) -> list[str]:
    """How this machine differs from the recorded one; empty if to the last bit is to be asked."""
    return [f"{k} {v} here, {recorded[k]} there" for k, v in here().items() if recorded[k] != v]
