"""How far are our trajectories from those of diffusers and k-diffusion?

The cases are those of ``tests/peers``, which hold them to 1e-5. The peers are needed: the extra
[peers], and k-diffusion without its dependencies.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import warnings
from importlib.metadata import version

import page
import pytest
import render

sys.path.insert(0, str(page.HERE.parent))
from tests.peers import test_diffusers as diffusers
from tests.peers import test_k_diffusion as k_diffusion
from tests.peers.conftest import SHAPE, TOLERANCE, k_sampling


def line(peer: str, case: str, solver: object, gap: float) -> list[str]:
    """A row of the table, in bold beyond the tolerance."""
    shown = f"{gap:.1e}"
    return [peer, case, type(solver).__name__, shown if gap < TOLERANCE else f"**{shown}**"]


def exceptions(patch: pytest.MonkeyPatch) -> list[list[str]]:
    """Peer, what it does, the difference to it, and with that done the same way."""
    sampling = k_sampling()
    rows: list[tuple[str, str, tuple[float, float]]] = []
    for nodes in (2, 3):
        peer = f"DEISMultistepScheduler, {nodes} nodes"
        what = "extrapolates in log(sigma / alpha), where tAB has the time of the VP process"
        rows.append((peer, what, diffusers.deis_gaps(nodes, patch)))
    for order in (2, 3, 4):
        what = "has all terms in the last step, to level 0, where ours denoises"
        gaps = k_diffusion.lms_gaps(order, sampling, patch)
        rows.append((f"sample_lms, order {order}", what, gaps))
    what = (
        "takes the noise of a step and of its stage from one Brownian path in sigma, where the "
        "reverse SDE has the one carried on to the other (SEEDS-2)"
    )
    rows.append(("sample_dpmpp_sde", what, k_diffusion.dpmpp_sde_gaps(sampling, patch)))
    return [[peer, what, f"{apart:.1e}", f"{same:.1e}"] for peer, what, (apart, same) in rows]


def main() -> None:
    """Write parity.md."""
    start = time.perf_counter()
    rows = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):
            for case, (solver, peer) in diffusers.CASES.items():
                rows.append(line(peer.name, case, solver, diffusers.gap(case, patch)))
            for case, (solver, name, _) in k_diffusion.CASES.items():
                gap = k_diffusion.gap(case, k_sampling(), patch)
                rows.append(line(name, case, solver, gap))
            differing = exceptions(patch)
    met = sum("**" not in row[-1] for row in rows)
    values = {
        "shape": " x ".join(map(str, SHAPE)),
        "met": met,
        "of": len(rows),
        "tolerance": TOLERANCE,
        "rows": render.table(["peer", "case", "ours", "largest difference"], rows),
        "differing": render.table(["peer", "what it does", "difference", "its way"], differing),
        "seconds": time.perf_counter() - start,
        "diffusers": version("diffusers"),
        "k_diffusion": version("k-diffusion"),
    }
    render.page("parity", values)


if __name__ == "__main__":
    main()
