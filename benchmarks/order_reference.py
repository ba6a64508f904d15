"""An independent table of the same exact errors, ours beside it, and what each difference is.

The reference figures were computed elsewhere, by other code, on the problem that ``order.py``
states; they are given to one or two digits.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import render

from sde_diffusion.config.compose import build, compose_task
from sde_diffusion.exact import Gaussian, natural_image_variances, relative_error
from sde_diffusion.process.grids import Karras, TimeGrid
from sde_diffusion.process.sde import EDM
from sde_diffusion.solvers.base import Solver

NFE = [4, 5, 6, 8, 10, 20, 50, 100]
SLOPE = (200, 400)  # the last column: the order that these two budgets show
STOCHASTIC_NFE = [20, 100, 1000]
# The VP process that reaches sigma 80 at t = 1 and 0.002 at t = 1e-3. Solved exactly its beta_min
# is -0.005: VP takes none below zero.
FITTED = ["beta_min=1e-6", "beta_max=17.54"]


def fitted() -> list[str]:
    """The words that give DEIS and its grid the time of that process."""
    return [f"{part}.{word}" for part in ("solver", "grid") for word in FITTED]


@dataclass(frozen=True)
class Known:
    """A row of the reference: its figures, the words of ours, and the definition that differs."""

    label: str
    figures: list[float | None]
    words: list[str]
    switch: list[str] | None = None
    reason: str = ""


LAST = "the last steps are of lower order, as published for few steps: `lower_order_final=true`"
VP_TIME = (
    "it takes the time of DEIS, in the polynomials and in the grid, from the VP process that "
    "reaches 80 at t = 1 and 0.002 at t = 0.001 (beta from about 0 to 17.54), ours from the "
    "published one (0.1 to 20): `beta_min`, `beta_max` of both"
)
ROWS = [
    Known("DDIM, rho 7", [.49, .41, .35, .28, .23, .12, .051, .026, 0.99], ["solver=ddim"]),
    Known("Heun, rho 7", [4.2, None, 2.7, 1.2, .71, .15, .022, 5e-3, 2.02], ["solver=heun"]),
    Known("iPNDM-4, rho 7", [.099, .057, .074, .063, .048, .013, 1.8e-3, 4e-4, 2.01],
          ["solver=ipndm"]),
    Known("DEIS-tAB3, vp-time^2", [.19, .12, .083, .040, .022, 2.4e-3, 9e-5, 1e-5, 2.3],
          ["solver=deis"],
          fitted(), VP_TIME),
    Known("DPM++2M, log-SNR", [.25, .11, .033, .033, .038, .016, 2.8e-3, 7e-4, 2.0],
          ["solver=dpmpp_2m"], ["solver.lower_order_final=true"], LAST),
    Known("DPM++3M, log-SNR", [.25, .17, .29, .21, .088, 9.7e-3, 1.1e-3, 2.4e-4, 2.02],
          ["solver=dpmpp_3m"], ["solver.lower_order_final=true"], LAST),
    Known("UniPC-2, log-SNR", [.24, .081, .028, .057, .049, .011, 8e-4, 1e-4, 3.0],
          ["solver=unipc"], ["solver.lower_order_final=true"], LAST),
    Known("UniPC-3, log-SNR", [.24, .22, .37, .21, .053, 7e-4, 5e-5, 4e-6, 3.4],
          ["solver=unipc", "solver.order=3"], ["solver.lower_order_final=true"], LAST),
]  # fmt: skip
STOCHASTIC = [
    Known("reverse diffusion, rho 7", [.30, .051, 4.9e-3], ["solver=reverse_diffusion"]),
    Known("SDE-DPM++2M, log-SNR", [.036, 1.9e-3, 1.9e-5], ["solver=dpmpp_2m_sde"]),
]  # fmt: skip
PC: list[float | None] = [.64, .065, 5.1e-3]  # fmt: skip


def errors(words: list[str], budgets: list[int], figures: list[float | None]) -> list[float | None]:
    """Relative W2 at each budget for which the reference has a figure; its slope if asked for."""
    config = compose_task(["task=sample", *words])
    solver: Solver = build(config.solver, "solver", Solver)
    grid: TimeGrid = build(config.grid, "grid", TimeGrid)

    def error(nfe: int) -> float:
        times = grid.times(EDM(), solver.steps(nfe))
        return relative_error(solver, EDM(), times, natural_image_variances())

    found = [
        None if known is None else error(n) for n, known in zip(budgets, figures, strict=False)
    ]
    if len(figures) > len(budgets):
        found.append(math.log2(error(SLOPE[0]) / error(SLOPE[1])))
    return found


def predictor_corrector(nfe: int, exact_norms: bool, snr: float = 0.16) -> float:
    """Reverse diffusion with a Langevin step, in the limit of many dimensions.

    The norms in e = 2 (snr |z| / |score|)^2 become their root mean squares, under the law that the
    sampler has made or under the exact one, and the sampler a linear map with a law in closed form;
    with norms of single samples it has none.
    """
    v_0 = natural_image_variances()
    times = Karras().times(EDM(), nfe // 2).tolist()
    v = v_0 + times[0] ** 2
    for i, (t, s) in enumerate(itertools.pairwise(times)):
        shrink = 1 / (v_0 + t**2)
        e = 2 * snr**2 * len(v) / float(((v_0 + t**2 if exact_norms else v) * shrink**2).sum())
        v = (1 - e * shrink) ** 2 * v + 2 * e
        v = (1 - (t**2 - s**2) * shrink) ** 2 * v + (t**2 - s**2) * (i < len(times) - 2)
    zero = v_0 * 0
    return Gaussian(zero, v).relative_w2(Gaussian(zero, v_0 + times[-1] ** 2))


def cells(found: list[float | None], known: list[float | None]) -> list[str]:
    """Ours and its ratio to the reference, in bold beyond 10 %."""
    shown = []
    for value, figure in zip(found, known, strict=True):
        if value is None or figure is None:
            shown.append("-")
            continue
        ratio = value / figure
        shown.append(
            f"{value:.3g} ({ratio:.2f})" if within(ratio) else f"**{value:.3g} ({ratio:.2f})**"
        )
    return shown


def within(ratio: float) -> bool:
    """Whether a cell agrees to 10 %."""
    return abs(ratio - 1) <= 0.1


def report() -> str:
    """The section of the page."""
    lines, apart, total = [], 0, 0
    notes: dict[str, list[str]] = {}
    for row in ROWS:
        ours = errors(row.words, NFE, row.figures)
        lines.append([row.label, "reference", *(f"{v:g}" if v else "-" for v in row.figures)])
        lines.append(["", "ours, default", *cells(ours, row.figures)])
        if row.switch is not None:
            ours = errors([*row.words, *row.switch], NFE, row.figures)
            lines.append(["", "ours, its definition", *cells(ours, row.figures)])
            notes.setdefault(row.reason, []).append(row.label.partition(",")[0])
        pairs = [(a, b) for a, b in zip(ours, row.figures, strict=True) if a and b]
        apart += sum(not within(a / b) for a, b in pairs)
        total += len(pairs)
    stochastic = []
    for row in STOCHASTIC:
        ours = errors(row.words, STOCHASTIC_NFE, row.figures)
        stochastic.append([row.label, "reference", *(f"{v:g}" for v in row.figures if v)])
        stochastic.append(["", "ours, default", *cells(ours, row.figures)])
        apart += sum(not within(a / b) for a, b in zip(ours, row.figures, strict=True) if a and b)
        total += len(ours)
    stochastic.append(["PC at snr 0.16, rho 7", "reference", *(f"{v:g}" for v in PC)])
    for whose, exact_norms in (("ours, many dimensions", False), ("ours, its definition", True)):
        ours = [predictor_corrector(nfe, exact_norms) for nfe in STOCHASTIC_NFE]
        stochastic.append(["", whose, *cells(ours, PC)])
    apart += sum(not within(a / b) for a, b in zip(ours, PC, strict=True) if a and b)
    total += len(PC)
    reasons = "\n".join(f"- {', '.join(names)}: {reason}." for reason, names in notes.items())
    head = ["row", "whose", *(f"NFE {n}" for n in NFE), "order"]
    return f"""An independent table of the same problem is known to one or two digits. Each cell of
ours has its ratio to the reference in brackets, in bold if it is more than 10 % off. With the
definitions of the reference {total - apart} of {total} cells are within 10 %. Our order is the
slope from {SLOPE[0]} to {SLOPE[1]} evaluations.

{render.markdown(head, lines)}

What differs, by name; each is a choice of ours, and the line "its definition" makes it:

{reasons}

{render.markdown(["row", "whose", *(f"NFE {n}" for n in STOCHASTIC_NFE)], stochastic)}

The predictor-corrector has the norm of the score in its step and is no linear map: its line is the
limit of many dimensions, where the norm is its root mean square. Ours is that of the law which the
sampler itself has made; the reference takes that of the exact law."""
