"""Progress bars, for who watches: none in a log that is written to a file."""

from __future__ import annotations

import sys

from sde_diffusion.system.processes import rank


def hidden(wanted: bool = True) -> bool:
    """Whether no bar is drawn: none was wanted, stderr is no terminal, or another process draws it.

    A notebook is no terminal and has bars.
    """
    return not wanted or rank() > 0 or not (sys.stderr.isatty() or "ipykernel" in sys.modules)
