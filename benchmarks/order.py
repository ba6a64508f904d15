"""What does a solver's exact error on a Gaussian look like, and of which order is it?"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import order_reference
import page
import render
import torch

from sde_diffusion.config.compose import build, compose_task
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.errors import InputError
from sde_diffusion.exact import natural_image_variances, relative_error
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import EDM
from sde_diffusion.report.exact import Row, best, cells, markdown_table, panels, unique
from sde_diffusion.solvers.base import Solver
from sde_diffusion.system.storage import write_atomically

NFE = [4, 5, 6, 8, 10, 20, 50, 100]
DOUBLINGS = [100, 200, 400, 800, 1600]
FLOOR = 1e-10  # below it the error is rounding
VARIANCE = natural_image_variances()
FEW_STEPS = {
    "ddim": ["solver=ddim"],
    "dpmpp_2m": ["solver=dpmpp_2m"],
    "dpmpp_3m": ["solver=dpmpp_3m"],
    "unipc": ["solver=unipc"],
    "unipc, order 3": ["solver=unipc", "solver.order=3"],
    "deis": ["solver=deis"],
    "ipndm": ["solver=ipndm"],
    "heun": ["solver=heun"],
}
VARIANTS = {
    "unipc, order 3": ["solver=unipc", "solver.order=3"],
    "dpmpp_3m, as derived": ["solver=dpmpp_3m", "solver.published=false"],
    "deis, beta 0 to 17.54": ["solver=deis", *order_reference.fitted()],
    "er_sde, order 1": ["solver=er_sde", "solver.order=1"],
    "torchsde, srk": ["solver=torchsde", "solver.method=srk"],
}
GRIDS = {
    "karras": ["grid=karras"],
    "logsnr": ["grid=logsnr"],
    "vptime": ["grid=vptime"],
    "uniform": ["grid=uniform"],
    "searched, order 1": ["grid=searched", "grid.order=1"],
    "searched, order 2": ["grid=searched"],
}


def rows(label: str, grid_label: str, words: list[str], budgets: list[int]) -> list[Row]:
    """Exact errors of one solver on one grid, where the budget buys whole steps."""
    config = compose_task(["task=sample", *words])
    solver: Solver = build(config.solver, "solver", Solver)
    grid: TimeGrid = build(config.grid, "grid", TimeGrid)
    if not solver.linear:
        return []
    found: list[Row] = []
    for nfe in budgets:
        try:
            times = grid.times(EDM(), solver.steps(nfe))
        except InputError:
            continue
        error = relative_error(solver, EDM(), times, VARIANCE)
        name = grid_label or str(config.grid._target_).rpartition(".")[2]
        found.append({"solver": label, "grid": name, "nfe": nfe, "order": solver.order,
                      "stochastic": solver.stochastic, "error": error})  # fmt: skip
    return found


def slope(found: list[Row]) -> str:
    """The order over the last doubling whose errors are not rounding yet."""
    at = {row["nfe"]: row["error"] for row in found}
    pairs = [(n, at[n], at[2 * n]) for n in DOUBLINGS if at.get(2 * n, 0) > FLOOR and n in at]
    if not pairs:
        return "-"
    n, coarse, fine = pairs[-1]
    return f"{math.log2(coarse / fine):.2f} (from {n})"


def record() -> tuple[render.Table, render.Table, list[Row]]:
    """The tables of all solvers on their default grids: deterministic, stochastic."""
    names = sorted(path.stem for path in Path(conf_dir(), "solver").glob("*.yaml"))
    every = sorted(({name: [f"solver={name}"] for name in names} | VARIANTS).items())
    everything: list[Row] = []
    tables: dict[bool, list[list[str]]] = {False: [], True: []}
    columns = {False: NFE, True: [*NFE, 1000]}
    for label, words in every:
        try:
            found = rows(label, "", words, sorted({*NFE, 1000, *DOUBLINGS}))
        except InputError as missing:  # a solver whose yaml leaves a field to the user
            print(f"left out: {missing}")
            continue
        if not found:
            continue
        everything += [row for row in found if row["nfe"] in columns[row["stochastic"]]]
        kind = found[0]["stochastic"]
        line = [label, found[0]["grid"], *cells(found, columns[kind]), slope(found)]
        tables[kind].append([*line, str(found[0]["order"])])
    text = [
        render.table(
            ["solver", "grid", *(f"NFE {n}" for n in columns[kind]), "slope", "declared order"],
            tables[kind],
        )
        for kind in (False, True)
    ]
    return text[0], text[1], everything


def gains(found: list[Row]) -> render.Table:
    """What the better of the two searched grids has over the best standard one."""
    budgets = sorted(unique(found, "nfe"))
    lines = []
    for solver in unique(found, "solver"):
        own = [row for row in found if row["solver"] == solver]
        searched = best([row for row in own if row["grid"].startswith("searched")])
        standard = best([row for row in own if not row["grid"].startswith("searched")])
        shown = [
            f"{searched[n]['error'] / standard[n]['error']:.2f}" if n in searched else "-"
            for n in budgets
        ]
        lines.append([solver, *shown])
    return render.table(["solver", *(f"NFE {n}" for n in budgets)], lines)


def timing() -> render.Table:
    """Median milliseconds of one exact error, and of what it replaces."""
    cases: list[tuple[str, list[str], int, torch.Tensor]] = [
        ("DDIM", ["solver=ddim"], 10, VARIANCE),
        ("UniPC-2", ["solver=unipc"], 10, VARIANCE),
        ("UniPC-2", ["solver=unipc"], 100, VARIANCE),
        ("UniPC-2, full covariance", ["solver=unipc"], 10, VARIANCE.diag()),
        ("SDE-DPM++2M", ["solver=dpmpp_2m_sde"], 20, VARIANCE),
        ("SDE-DPM++2M", ["solver=dpmpp_2m_sde"], 1000, VARIANCE),
    ]
    measured: list[list[float]] = [[] for _ in cases]
    calls: list[Callable[[], float]] = []
    for _, words, nfe, covariance in cases:
        config = compose_task(["task=sample", *words])
        solver: Solver = build(config.solver, "solver", Solver)
        times = build(config.grid, "grid", TimeGrid).times(EDM(), solver.steps(nfe))
        calls.append(lambda s=solver, t=times, c=covariance: relative_error(s, EDM(), t, c))
    for _ in range(7):  # interleaved, so that a busy moment hits all alike
        for spent, call in zip(measured, calls, strict=True):
            start = time.thread_time()
            call()
            spent.append(1000 * (time.thread_time() - start))
    lines = [
        [label, str(nfe), f"{statistics.median(spent):.2g}"]
        for (label, _, nfe, _), spent in zip(cases, measured, strict=True)
    ]
    return render.table(["solver", "NFE", "ms"], lines)


def main() -> None:
    """Write order.md and its pictures."""
    start = time.perf_counter()
    deterministic, stochastic, recorded = record()
    crossed = [
        row
        for label, words in FEW_STEPS.items()
        for grid, grid_words in GRIDS.items()
        for row in rows(label, grid, [*words, *grid_words], [4, 5, 6, 8, 10, 15, 20, 50, 100])
    ]
    for kind, name in ((False, "order"), (True, "order_stochastic")):
        group = {"default grids": [row for row in recorded if row["stochastic"] == kind]}
        title = f"Exact error of {'stochastic' if kind else 'deterministic'} solvers"
        write_atomically(page.HERE / f"{name}.png", panels(group, "solver", title))
    by_solver = {
        name: [row for row in crossed if row["solver"] == name] for name in list(FEW_STEPS)[:6]
    }
    write_atomically(
        page.HERE / "order_grids.png", panels(by_solver, "grid", "Exact error of a solver by grid")
    )
    values = {
        "d": len(VARIANCE),
        "deterministic": deterministic,
        "stochastic": stochastic,
        "grids": markdown_table(crossed),
        "gains": gains(crossed),
        "reference": order_reference.report(),
        "timing": timing(),
        "seconds": time.perf_counter() - start,
    }
    render.page("order", values)


if __name__ == "__main__":
    main()
