"""Is the endpoint error that was asked for the one that comes out, and the law the right one?

The adaptive solvers on closed forms and on the shipped network; needs no data set.
"""

from __future__ import annotations

from collections.abc import Callable

import page
import render
import torch
from adaptive_law import COPIES, OF_MEAN, OF_MIXTURE, OF_VARIANCE, ROWS, law_tables
from adaptive_plot import kept, plot
from adaptive_problems import HARD, PROBLEMS, SDES, TUNED
from adaptive_solved import F64, HELD_OUT, OTHERS, REQUESTS, cell, converged, rms, solved, starts
from torch import Tensor
from tqdm import tqdm

from sde_diffusion import load
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.encode import ProbabilityFlow
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.adaptive.scipy import SciPy
from sde_diffusion.solvers.base import Solver
from sde_diffusion.system.storage import write_atomically


def requests(n: int = 500) -> tuple[list[list[str]], dict[str, list[list[float]]]]:
    """A row a problem, a cell a request; and the quantiles of the plot."""
    rows, curves = [], {}
    for name, target in tqdm(PROBLEMS.items(), desc="requests"):
        start = starts(target, n)
        exact, cells = converged(target, start), []
        curves[name] = []
        for error in REQUESTS:
            found, spent = solved(DoPri(error), EDM(), target, start)
            off = rms(found - exact)
            cells.append(cell(off / error, spent))
            curves[name].append([float(off.quantile(q)) for q in (0.05, 0.5, 0.95)])
        rows.append([name, *cells])
    return rows, curves


def on_all(n: int = 100) -> list[list[str]]:
    """The six SDEs at 1e-3 in both dtypes, on the two held-out problems."""
    rows = []
    for name, sde in tqdm(SDES.items(), desc="sdes"):
        row = [name]
        for problem in HELD_OUT:
            target = PROBLEMS[problem]
            start = starts(target, n)
            exact = converged(target, start)
            found, spent = solved(DoPri(1e-3), sde, target, start)
            row.append(cell(rms(found - exact) / 1e-3, spent))
            single, spent = solved(DoPri(1e-3), sde, target, start.float())
            row.append(cell(rms(single - exact) / 1e-3, spent))
        rows.append(row)
    return rows


def plain_tolerances(n: int = 50) -> list[list[str]]:
    """What rtol = atol = the request gives in its place."""
    solvers: list[tuple[str, Callable[[float], Solver]]] = [
        ("`dopri`, request", DoPri),
        ("`dopri`, rtol = atol", lambda e: DoPri(rtol=e, atol=e)),
        ("`scipy` RK45, rtol = atol", lambda e: SciPy(rtol=e, atol=e)),
        ("`scipy` DOP853, rtol = atol", lambda e: SciPy("DOP853", rtol=e, atol=e)),
    ]
    rows = []
    for problem in HELD_OUT:
        target = PROBLEMS[problem]
        start = starts(target, n)
        exact = converged(target, start)
        for name, make in tqdm(solvers, desc=problem):
            cells = []
            for error in (1e-2, 1e-3, 1e-4):
                found, spent = solved(make(error), EDM(), target, start)
                cells.append(cell(rms(found - exact) / error, spent))
            rows.append([problem, name, *cells])
    return rows


def batches(n: int = 64) -> list[list[str]]:
    """A sample in a batch of 64, in one of 7 in another order, and alone."""
    rows = []
    for problem in HELD_OUT:
        target = PROBLEMS[problem]
        start = starts(target, n)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
        whole, spent = solved(DoPri(1e-3), EDM(), target, start)
        parts = [solved(DoPri(1e-3), EDM(), target, start[k]) for k in order.split(7)]
        alone = [solved(DoPri(1e-3), EDM(), target, start[k : k + 1]) for k in range(n)]
        shuffled = (torch.cat([x for x, _ in parts]) - whole[order]).abs().max()
        single = (torch.cat([x for x, _ in alone]) - whole).abs().max()
        total = sum(calls for _, calls in alone)
        counts = [calls for _, calls in alone]
        rows.append([problem, f"{shuffled:.1e}", f"{single:.1e}", f"{spent * n:.0f}",
                     f"{total:.0f}", f"{min(counts):.0f} .. {max(counts):.0f}"])  # fmt: skip
    return rows


def there_and_back(n: int = 100) -> list[list[str]]:
    """RMS of decode(encode(x)) - x over the request, x drawn at the least noise level."""
    rows = []
    for name in [TUNED, *HELD_OUT]:
        target = PROBLEMS[name]
        x = converged(target, starts(target, n))
        cells = []
        for error in REQUESTS:
            mapped, before = ProbabilityFlow.build(target, error), target.evaluations
            found = mapped.decode(mapped.encode(x))
            cells.append(cell(rms(found - x) / error, (target.evaluations - before) / n))
        rows.append([name, *cells])
    return rows


def network(n: int = 4) -> tuple[list[str], list[str]]:
    """The shipped model against its own flow to 1e-5: endpoint error, and there and back."""
    model = load("mnist-large")

    def draw(error: float) -> tuple[Tensor, float]:
        made = model.sample(n, nfe=None, label="all", solver="dopri", dtype=F64,
                            solver__error=error)  # fmt: skip
        return made.x, made.nfe

    exact, _ = draw(1e-5)
    ends, back = ["endpoint"], ["there and back"]
    for error in tqdm(REQUESTS[:3], desc="network"):
        found, spent = draw(error)
        ends.append(cell(rms(found - exact) / error, spent))
        before = model.denoiser.evaluations
        z = model.encode(exact, label="all", error=error)
        found = model.decode(z, label="all", error=error)
        spent = (model.denoiser.evaluations - before) / n
        back.append(cell(rms(found - exact) / error, spent))
    return ends, back


@torch.no_grad()
def main() -> None:
    """Write adaptive.md and adaptive.png."""
    sections = (requests, on_all, plain_tolerances, batches, there_and_back, network, law_tables)
    folder = page.HERE.parent / "outputs" / "benchmark-adaptive"
    done = [page.once(folder, section.__name__, section) for section in sections]
    (asked, curves), sdes, plain, composed, back, (ends, ends_back), (against, everywhere) = done
    write_atomically(page.HERE / "adaptive.png", plot(curves))
    head = [f"{error:g}" for error in REQUESTS]
    both = [f"{p}, {d}" for p in HELD_OUT for d in ("float64", "float32")]
    of_batch = ["problem", "of 7, shuffled", "alone", "evaluations together", "alone", "a sample"]
    of_law = ["rtol", "evaluations", "mean", "variance", "SDE-2M, variance", "mixture, s.e."]
    of_sdes = [f"{d}, {k}" for d in ("float64", "float32")
               for k in ("mean", "chi-square", "evaluations")]  # fmt: skip
    values = {
        "asked": render.table(["problem", *head], asked),
        "others": kept(curves, OTHERS),
        "hard": kept(curves, HARD),
        "sdes": render.table(["SDE", *both], sdes),
        "plain": render.table(["problem", "solver", "0.01", "0.001", "0.0001"], plain),
        "composed": render.table(of_batch, composed),
        "back": render.table(["problem", *head], back),
        "network": render.table(["", *head[:3]], [ends, ends_back]),
        "draws": ROWS * COPIES,
        "of_mean": OF_MEAN,
        "of_variance": OF_VARIANCE,
        "of_mixture": OF_MIXTURE,
        "against": render.table(of_law, against),
        "everywhere": render.table(["SDE", *of_sdes], everywhere),
    }
    render.page("adaptive", values)


if __name__ == "__main__":
    main()
