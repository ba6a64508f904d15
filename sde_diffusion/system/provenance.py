"""Where and when a number was made."""

from __future__ import annotations

import datetime
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def revision() -> str:
    """The git revision of a source checkout, the package version elsewhere."""
    here = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    inside = done.returncode == 0 and (here / ".git").exists()
    return done.stdout.strip() if inside else f"version {package_version()}"


def package_version() -> str:
    """The version of the installed package."""
    try:
        return version("sde_diffusion")
    except PackageNotFoundError:
        return "unknown"


def machine() -> dict[str, str]:
    """Where and when a number was made."""
    threads = torch.get_num_threads()
    return {
        "revision": revision(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {threads} thread{'s' * (threads > 1)}",
    }
