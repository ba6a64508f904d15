"""Does the error on the Gaussian of a data set say which solver a trained network is best with?

Compares ``sde-diffusion analyse data=mnist`` with the Fréchet distances of the shipped network that
``fd_vs_nfe.py`` has measured. The MNIST files are found as ``data=mnist`` finds them (MNIST_ROOT).
"""

from __future__ import annotations

import csv
import json
import shlex

import page
import render
from scipy.stats import spearmanr

from sde_diffusion.config.compose import compose_task
from sde_diffusion.report.exact import Row, best
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.tasks import analyse

FOLDER = page.HERE.parent / "outputs" / "benchmark-analyse"


def measured() -> dict[tuple[str, int], float]:
    """FD of each solver at each NFE at the largest number of samples, bias removed."""
    with (page.HERE / "fd_vs_nfe.csv").open() as file:
        found = list(csv.DictReader(file))
    top = max(int(row["samples"]) for row in found)
    return {
        (row["solver"], round(float(row["nfe"]))): float(row["fd_debiased"] or row["fd"])
        for row in found
        if int(row["samples"]) == top and row["nfe_asked"]
    }


def run(overrides: list[str]) -> tuple[list[Row], dict[str, str]]:
    """The rows of ``analyse`` with ``overrides``."""
    analyse.run(compose_task(["task=analyse", *overrides]), FOLDER)
    content = json.loads((FOLDER / "analyse.json").read_text())
    return content["rows"], content["provenance"]


def main() -> None:
    """Write analyse.md and analyse.png."""
    fd = measured()
    # A calibrated rule belongs to its network: a Gaussian says nothing of it.
    solvers, budgets = sorted({s for s, _ in fd} - {"calibrated"}), sorted({n for _, n in fd})
    listed = [f"solvers=[{','.join(solvers)}]", f"nfe=[{','.join(map(str, budgets))}]"]
    rows, _ = run(["data=mnist", *listed, "grids=[default]"])
    exact = {(row["solver"], row["nfe"]): row["error"] for row in rows}
    both = [key for key in exact if key in fd]
    lines = []
    for solver in solvers:
        cells = [
            f"{exact[solver, n]:.2g} / {fd[solver, n]:.2g}" if (solver, n) in both else "-"
            for n in budgets
        ]
        lines.append([solver, *cells])
    at = {n: [key for key in both if key[1] == n] for n in budgets}
    ranks = [f"{rank(keys, exact, fd):.2f}" for keys in at.values()]
    first = [
        f"{min(keys, key=exact.__getitem__)[0]} / {min(keys, key=fd.__getitem__)[0]}"
        for keys in at.values()
    ]
    lines += [["Spearman of the column", *ranks], ["first by each", *first]]
    full, facts = run(["data=mnist"])
    write_atomically(page.HERE / "analyse.png", (FOLDER / "analyse.png").read_bytes())
    winners = [
        [str(nfe), row["solver"], row["grid"], f"{row['error']:.2g}"]
        for nfe, row in best(full).items()
    ]
    values = {
        "images": facts["images"],
        "lines": render.table(["solver", *(f"NFE {n}" for n in budgets)], lines),
        "shared": len(both),
        "rank": rank(both, exact, fd),
        "winners": render.table(["NFE", "solver", "grid", "exact error"], winners),
        "analysis": shlex.join(
            ["sde-diffusion", "analyse", "data=mnist", *listed, "grids=[default]"]
        ),
        "data": facts["data"],
        "data_fingerprint": facts["data_fingerprint"],
    }
    render.page("analyse", values)


def rank(
    keys: list[tuple[str, int]],
    exact: dict[tuple[str, int], float],
    fd: dict[tuple[str, int], float],
) -> float:
    """Spearman's rank correlation of exact error and measured distance."""
    return float(spearmanr([exact[k] for k in keys], [fd[k] for k in keys]).statistic)


if __name__ == "__main__":
    main()
