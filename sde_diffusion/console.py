"""The console script: an interrupt while the executable is imported ends as one does later."""

from __future__ import annotations

import sys


def main() -> None:
    """``sde-diffusion TASK overrides...``; exits with 130 if it is interrupted before it began."""
    try:
        from sde_diffusion.cli import main as command
    except KeyboardInterrupt:
        print("sde-diffusion: interrupted before it began", file=sys.stderr)
        sys.exit(130)
    command()
