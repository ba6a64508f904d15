"""Where does guidance end? Every kind against the two laws that it could mean, both known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import page
import render
import torch
from guidance_laws import WORSE, Product, asked, distance, exact, others

from sde_diffusion.guidance import (
    Auto,
    ClassifierFree,
    Guidance,
    Interval,
    Projected,
    Rescaled,
    Threshold,
    guided,
)
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.guided.apg import APGMomentum
from sde_diffusion.solvers.guided.cfg_zero import CFGZero
from sde_diffusion.solvers.guided.cfgpp import CFGpp

DIMENSIONS = (2, 16, 784)
N, REFERENCE = 4000, 20000  # samples, in 784 dimensions half of them, and exact draws
SCALE = 3.0
CALLS = (8, 16, 128)  # the last one is taken for converged
BATCH = 500
OUTPUTS = page.HERE.parent / "outputs" / "benchmark-guidance"


@dataclass(frozen=True)
class Method:
    """A way to guide: made for d dimensions, and which law it aims at."""

    guidance: Callable[[int], list[Guidance]]
    solver: Callable[[], StepSolver[Any]] = DPMpp2M
    aim: str = "none"
    still: int = 0  # calls that cost nothing


def auto(d: int) -> list[Guidance]:
    """Away from a model whose components are wider."""
    worse = Product(d, WORSE)
    return [Auto(SCALE, "wider").opened(lambda path: worse)]


METHODS = {
    "the condition alone": Method(lambda d: [], aim="p(x \\| c)"),
    "cfg": Method(lambda d: [ClassifierFree(SCALE)], aim="tilted"),
    "cfg, ddim": Method(lambda d: [ClassifierFree(SCALE)], DDIM, "tilted"),
    "interval .1 to 1": Method(lambda d: [Interval(SCALE, 0.1, 1.0)]),
    "auto, wider model": Method(auto, aim="p(x \\| c)^w q(x \\| c)^(1-w)"),
    "rescaled": Method(lambda d: [Rescaled(SCALE)]),
    "apg": Method(lambda d: [Projected(SCALE)]),
    "cfg and threshold": Method(lambda d: [ClassifierFree(SCALE), Threshold()]),
    "apg, momentum": Method(lambda d: [], lambda: APGMomentum(DPMpp2M(), SCALE)),
    "CFG-Zero*, ddim": Method(lambda d: [], lambda: CFGZero(DDIM(), SCALE), still=1),
    "CFG++ .6, ddim": Method(lambda d: [], lambda: CFGpp(DDIM(), 0.6)),
}


def cell(d: int, name: str, calls: int) -> dict[str, Any]:
    """Distances from both laws of N samples, the same noise in every cell."""
    method = METHODS[name]
    made = Sampler.build(EDM(), guided(Product(d), method.guidance(d)), method.solver(), Karras())
    cost = made.denoiser.cost if made.solver.asks_empty is False else made.solver.evaluations
    nfe = cost * (calls - method.still)
    drawn = made.sample(
        Request(range(n := N if d < 100 else N // 2), nfe, asked(n)),
        Execution(BATCH, torch.float64),
    )
    found = {"nfe": drawn.nfe, "calls": calls, "others": others(drawn.x)}
    targets = {"conditional": (1.0, 1.0), "tilted": (SCALE, 1.0)}
    if name.startswith("auto"):
        targets["own"] = (SCALE, WORSE)
    for label, (scale, wider) in targets.items():
        found[label] = asdict(distance(drawn.x, exact(scale, wider, REFERENCE, 1)))
    return found


def floors() -> dict[str, Any]:
    """Distances of as many exact draws of one law from both."""
    laws = {"p(x \\| c) itself": 1.0, "tilted itself": SCALE}
    return {
        name: {
            target: asdict(distance(exact(scale, 1.0, N, 2), exact(to, 1.0, REFERENCE, 1)))
            for target, to in (("conditional", 1.0), ("tilted", SCALE))
        }
        for name, scale in laws.items()
    }


def four(values: dict[str, float]) -> list[str]:
    """A distance as cells of a table."""
    return [f"{values[key]:.3f}" for key in ("mean", "cov", "modes", "w2")]


def table(d: int) -> str:
    """Every method at every number of calls, in one dimension."""
    rows = []
    for name, found in page.once(OUTPUTS, "floor", floors).items():
        rows.append([name, "-", "-", *four(found["conditional"]), *four(found["tilted"]), None])
    for name, method in METHODS.items():
        for calls in CALLS:
            key = f"{d}-{name}-{calls}".replace(" ", "_").replace("*", "")
            found = page.once(OUTPUTS, key, lambda n=name, c=calls: cell(d, n, c))
            beside = "" if "own" not in found else f" (its own: {found['own']['w2']:.3f})"
            cells = [*four(found["conditional"]), *four(found["tilted"])]
            rows.append(
                [name + beside, method.aim, f"{calls}: {found['nfe']:g}", *cells, found["others"]]
            )
    four_names = ["mean", "cov", "modes", "W2"]
    head = ["guidance", "aims at", "calls: NFE", *four_names, *[f"{x}, tilted" for x in four_names]]
    head.append("others")
    return render.markdown(head, rows)


def main() -> None:
    """Draw, measure, write guidance.md."""
    text = [(page.HERE / "text" / "guidance.md").read_text().strip()]
    for d in DIMENSIONS:
        text += [f"## In {d} dimensions", table(d)]
    page.plain("guidance", "Guidance, judged by the law that it ends at", text)


if __name__ == "__main__":
    main()
