"""What does a solver's exact error on a Gaussian look like, and of which order is it?"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import page

from sde_diffusion.config import build, compose_task, conf_dir
from sde_diffusion.errors import InputError
from sde_diffusion.exact import natural_image_variances, relative_error
from sde_diffusion.files import write_atomically
from sde_diffusion.grid import TimeGrid
from sde_diffusion.sde import EDM
from sde_diffusion.solvers.base import Solver
from sde_diffusion.tasks.common import machine

NFE = [4, 5, 6, 8, 10, 20, 50, 100]
GRIDS = ["karras", "logsnr", "vptime"]


def row(name: str, grid_name: str | None) -> list[str] | None:
    """One solver on one grid (its default if None): errors, slope of the last doubling."""
    words = ["task=sample", f"solver={name}", *([f"grid={grid_name}"] if grid_name else [])]
    config = compose_task(words)
    solver = build(config.solver, "solver", Solver)
    grid = build(config.grid, "grid", TimeGrid)
    if solver.order is None:
        return None  # adaptive, or with norms of the state: no linear map
    errors: dict[int, float] = {}
    for nfe in [*NFE, 200]:
        try:
            times = grid.times(EDM(), solver.steps(nfe))
            errors[nfe] = relative_error(solver, EDM(), times, natural_image_variances())
        except InputError:
            continue  # a budget that buys no whole step
    slope = math.log2(errors[100] / errors[200])
    cells = [f"{errors[n]:.2g}" if n in errors else "-" for n in NFE]
    return [name, str(config.grid._target_).rpartition(".")[2], *cells, f"{slope:.2f}",
            str(solver.order)]  # fmt: skip


def main() -> None:
    """Write order.md."""
    start = time.perf_counter()
    names = sorted(path.stem for path in Path(conf_dir(), "solver").glob("*.yaml"))
    rows = [found for name in names if (found := row(name, None)) is not None]
    few = ["ddim", "dpmpp_2m", "dpmpp_3m", "unipc", "deis", "ipndm"]
    crossed = [found for n in few if n in names for g in GRIDS if (found := row(n, g)) is not None]
    head = ["solver", "grid", *(f"NFE {n}" for n in NFE), "slope 100 to 200", "declared order"]
    facts = machine()
    text = f"""# Exact error against evaluations

Relative Wasserstein-2 distance between the law that a solver makes and the exact one, on a Gaussian
of {len(natural_image_variances())} dimensions with the spectrum of small colour pictures
(`sde_diffusion.exact.natural_image_variances`): noise levels from 80 to 0.002, exact start law, no
last denoising, every denoiser call counted. Nothing is sampled: the law of a linear solver is read
off its response to unit impulses, so the figures are exact.

Each solver on its default grid:

{page.table(head, rows)}

Few-step solvers on three grids:

{page.table(head, crossed)}

The declared order is the one the tests hold each solver to, on all six SDEs. A slope above it is an
asymptote not yet reached, or an error that happens to cancel on this problem.

## Where the numbers come from

- command: `python benchmarks/{Path(sys.argv[0]).name}` ({time.perf_counter() - start:.0f} s)
- machine: {facts["machine"]}
- date: {facts["date"]}, revision: {facts["revision"]}
"""
    write_atomically(page.HERE / "order.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
