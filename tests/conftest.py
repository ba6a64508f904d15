"""What several tests share: the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """``cli("sample", "n=4", ok=True)`` in an empty folder; its output folder is ``out``."""

    def run(*words: str, ok: bool = True, env: dict[str, str] | None = None) -> object:
        environment = {**os.environ, "WANDB_MODE": "offline", **(env or {})}
        environment.pop("HYDRA_FULL_ERROR", None)
        done = subprocess.run(
            [sys.executable, "-m", "sde_diffusion.cli", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if ok:
            assert done.returncode == 0, done.stderr[-2000:]
        return done

    return run  # type: ignore[return-value]
