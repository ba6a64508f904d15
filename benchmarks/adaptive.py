"""Is the endpoint error that was asked for the one that comes out, and the law the right one?

The adaptive solvers on closed forms and on the shipped network; needs no data set.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import page
import torch
from adaptive_problems import HARD, PROBLEMS, TUNED, Target, exact_statistics, statistics
from torch import Tensor
from tqdm import tqdm
from weak_order import mixture

from sde_diffusion import load
from sde_diffusion.closed_form import GaussianDenoiser
from sde_diffusion.denoiser import Denoiser
from sde_diffusion.exact import law, marginal
from sde_diffusion.files import write_atomically
from sde_diffusion.flow import Flow
from sde_diffusion.grid import Karras
from sde_diffusion.noise import Noise, Seeds
from sde_diffusion.report.style import INK, SOFT, line, log_axes
from sde_diffusion.reverse import Reverse
from sde_diffusion.sde import EDM, SDE, VE, VP, CosineVP, RectifiedFlow, SubVP
from sde_diffusion.solvers.adaptive_sde import AdaptiveSDE
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.dopri import DoPri, flow
from sde_diffusion.solvers.dpmpp_2m_sde import DPMpp2MSDE
from sde_diffusion.solvers.scipy import SciPy
from sde_diffusion.tasks.common import machine

F64 = torch.float64
REQUESTS = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
ENDS = torch.tensor([80.0, 0.002], dtype=F64)
SDES: dict[str, SDE] = {
    "VP": VP(), "sub-VP": SubVP(), "VE": VE(), "cosine": CosineVP(), "EDM": EDM(),
    "flow": RectifiedFlow(),
}  # fmt: skip
HELD_OUT = ["Gaussian of digits", "mixture of digits"]


class Unasked(Noise):
    """A probability flow draws nothing."""

    def fresh(self) -> Tensor:
        raise AssertionError("noise was drawn")

    def normal(self, t: Tensor, s: Tensor) -> Tensor:
        raise AssertionError("noise was drawn")

    def entropy(self) -> list[int]:
        raise AssertionError("noise was drawn")


def rms(x: Tensor) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def starts(target: Denoiser, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return 80 * torch.randn(n, *target.shape, generator=generator, dtype=F64)


def converged(target: Denoiser, start: Tensor) -> Tensor:
    """The exact flow of a Gaussian; of a mixture, the flow to an endpoint error of 1e-9."""
    if isinstance(target, GaussianDenoiser):
        return target.flow(start, *ENDS)
    return flow(Reverse(EDM(), target), start, ENDS, 1e-9, "error=1e-9")


def solved(solver: Solver, sde: SDE, target: Denoiser, start: Tensor) -> tuple[Tensor, float]:
    """x / alpha at the end, and evaluations a sample."""
    times, before = Karras().times(sde, 1), target.evaluations
    x = (sde.alpha(times[0]) * start).to(start)
    x = solver.solve(Reverse(sde, target), x, times, Unasked()) / sde.alpha(times[-1])
    return x.double(), (target.evaluations - before) / len(start)


def cell(ratio: Tensor, evaluations: float | None = None) -> str:
    """Median / 95 % quantile (most): evaluations."""
    text = f"{ratio.median():.2g} / {ratio.quantile(0.95):.2g} ({ratio.max():.2g})"
    return text if evaluations is None else f"{text}: {evaluations:.0f}"


def requests(n: int = 1000) -> tuple[list[list[str]], dict[str, list[list[float]]]]:
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


def on_all(n: int = 200) -> list[list[str]]:
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


def plain_tolerances(n: int = 100) -> list[list[str]]:
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


def there_and_back(n: int = 200) -> list[list[str]]:
    """RMS of decode(encode(x)) - x over the request, x drawn at the least noise level."""
    rows = []
    for name in [TUNED, *HELD_OUT]:
        target = PROBLEMS[name]
        x = converged(target, starts(target, n))
        cells = []
        for error in REQUESTS:
            mapped, before = Flow.build(target, error), target.evaluations
            found = mapped.decode(mapped.encode(x))
            cells.append(cell(rms(found - x) / error, (target.evaluations - before) / n))
        rows.append([name, *cells])
    return rows


def network(n: int = 16) -> tuple[list[str], list[str]]:
    """The shipped model against its own flow to 1e-6: endpoint error, and there and back."""
    model = load("mnist")

    def draw(error: float) -> tuple[Tensor, float]:
        made = model.sample(n, nfe=None, label="all", solver="dopri", dtype=F64,
                            solver__error=error)  # fmt: skip
        return made.x, made.nfe

    exact, _ = draw(1e-6)
    ends, back = ["endpoint"], ["there and back"]
    for error in tqdm(REQUESTS[:4], desc="network"):
        found, spent = draw(error)
        ends.append(cell(rms(found - exact) / error, spent))
        before = model.denoiser.evaluations
        z = model.encode(exact, label="all", error=error)
        found = model.decode(z, label="all", error=error)
        spent = (model.denoiser.evaluations - before) / n
        back.append(cell(rms(found - exact) / error, spent))
    return ends, back


def deviations(
    solver: Solver, sde: SDE, dtype: torch.dtype = F64, rows: int = 256, copies: int = 64
) -> tuple[float, float, float]:
    """Largest deviation of a mode's mean (in its standard deviation) and of its variance (relative)
    from the exact law, over rows x copies draws; evaluations a sample."""
    one = mixture()
    variance, mean = one.variances[0], one.means[0]
    target = GaussianDenoiser(variance.repeat(copies), mean.repeat(copies))
    times = Karras().times(sde, 1)
    noise = Seeds().batch(range(rows), target.shape, dtype)
    first = marginal(sde, times[0], target.variance, target.mean)
    x = (first.mean + first.variance.sqrt() * noise.fresh()).to(dtype)
    found = solver.solve(Reverse(sde, target), x, times, noise)
    last = marginal(sde, times[-1], variance, mean)
    z = (found.double().reshape(-1, len(mean)) - last.mean) / last.variance.sqrt()
    off = float(z.mean(0).abs().max()), float((z.square().mean(0) - 1).abs().max())
    return *off, target.evaluations / rows


def fixed(nfe: int) -> float:
    """Largest relative error of a mode's variance by SDE-DPM-Solver++(2M) at ``nfe``: exact."""
    one, sde = mixture(), VP()
    times = Karras().times(sde, nfe)
    found = law(DPMpp2MSDE(), sde, times, one.variances[0], one.means[0])
    right = marginal(sde, times[-1], one.variances[0], one.means[0])
    return float((found.variance / right.variance - 1).abs().max())


def of_mixture(solver: AdaptiveSDE, rows: int) -> float:
    """Largest deviation of 12 means of a mixture from their exact values, in standard errors."""
    target, sde = mixture(), VP()
    times = Karras().times(sde, 1)
    noise = Seeds().batch(range(rows), target.shape, F64)
    generator = torch.Generator().manual_seed(2)
    x = sde.perturb(target.sample(rows, generator), times[0], noise.fresh())
    y = solver.solve(Reverse(sde, target), x, times, noise) / sde.alpha(times[-1])
    seen = statistics(y)
    error = seen.std(0) / rows**0.5
    return float(((seen.mean(0) - exact_statistics(target, 0.002)) / error).abs().max())


def law_tables() -> tuple[list[list[str]], list[list[str]]]:
    """Against tolerance, and on all SDEs in both dtypes."""
    against, everywhere = [], []
    for rtol in tqdm((0.1, 0.03, 0.01, 0.003, 0.001), desc="law"):
        solver = AdaptiveSDE(rtol, rtol / 10)
        mean, variance, spent = deviations(solver, VP())
        of_many = f"{of_mixture(solver, 2048):.1f}"
        against.append([f"{rtol:g}", f"{spent:.0f}", f"{mean:.3f}", f"{variance:.3f}",
                        f"{fixed(round(spent)):.3f}", of_many])  # fmt: skip
    for name, sde in tqdm(SDES.items(), desc="law"):
        row = [name]
        for dtype in (F64, torch.float32):
            mean, variance, spent = deviations(AdaptiveSDE(0.003, 3e-4), sde, dtype)
            row += [f"{mean * 128:.1f}", f"{variance * 128 / 2**0.5:.1f}", f"{spent:.0f}"]
        everywhere.append(row)
    return against, everywhere


def plot(curves: dict[str, list[list[float]]]) -> bytes:
    """Endpoint error against request, the middle 90 % as a band, a panel a problem."""
    import io

    from matplotlib.figure import Figure

    names = [TUNED, *HELD_OUT]
    figure = Figure(figsize=(9.4, 3.3), dpi=160, layout="constrained")
    for ax, (i, name) in zip(figure.subplots(1, 3, sharey=True), enumerate(names), strict=True):
        low, median, high = zip(*curves[name], strict=True)
        ax.plot(REQUESTS, REQUESTS, color=SOFT, linewidth=1, linestyle="--", label="asked for")
        ax.plot(REQUESTS, [0.02 * e for e in REQUESTS], color=SOFT, linewidth=1, linestyle=":",
                label="0.02 of it")  # fmt: skip
        ax.fill_between(REQUESTS, low, high, color=line(i)["color"], alpha=0.25, linewidth=0)
        ax.plot(REQUESTS, median, **line(i))
        log_axes(ax, REQUESTS, [1e-7, 0.1])
        ax.set_title(name, loc="left", fontsize=10, color=INK)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.supxlabel("requested endpoint error", fontsize=10, color=SOFT)
    figure.supylabel("found: 5, 50, 95 % of samples", fontsize=10, color=SOFT)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


@torch.no_grad()
def main() -> None:
    """Write adaptive.md and adaptive.png."""
    begin = time.perf_counter()
    asked, curves = requests()
    sdes, plain, composed, back = on_all(), plain_tolerances(), batches(), there_and_back()
    ends, ends_back = network()
    against, everywhere = law_tables()
    write_atomically(page.HERE / "adaptive.png", plot(curves))
    head = [f"{error:g}" for error in REQUESTS]
    facts = machine()
    text = TEXT.format(
        asked=page.table(["problem", *head], asked),
        sdes=page.table(
            ["SDE", *(f"{p}, {d}" for p in HELD_OUT for d in ("float64", "float32"))], sdes
        ),
        plain=page.table(["problem", "solver", "0.01", "0.001", "0.0001"], plain),
        composed=page.table(
            ["problem", "of 7, shuffled", "alone", "evaluations, batch", "evaluations, alone",
             "a sample"], composed,
        ),
        back=page.table(["problem", *head], back),
        network=page.table(["shipped MNIST model", *head[:4]], [ends, ends_back]),
        against=page.table(
            ["rtol", "evaluations", "mean", "variance", "fixed steps, variance", "mixture, s.e."],
            against,
        ),
        everywhere=page.table(
            ["SDE", *(f"{d}, {k}" for d in ("float64", "float32")
                      for k in ("mean", "chi-square", "evaluations"))], everywhere,
        ),
        hard=" and ".join(f"*{name}*" for name in HARD),
        tuned=TUNED,
        command=f"`python benchmarks/adaptive.py` ({time.perf_counter() - begin:.0f} s)",
        **facts,
    )  # fmt: skip
    write_atomically(page.HERE / "adaptive.md", text.encode())
    sys.stdout.write(text)


TEXT = (page.HERE / "adaptive_text.md").read_text() if False else ""

if __name__ == "__main__":
    main()
