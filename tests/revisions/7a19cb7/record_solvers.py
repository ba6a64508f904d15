"""Kept as it was run: writes solvers.safetensors with the API of revision 7a19cb7, and no other.

    git worktree add /tmp/checkout 7a19cb7
    export OMP_NUM_THREADS=1 PYTHONPATH=/tmp/checkout:tests/revisions
    python tests/revisions/7a19cb7/record_solvers.py [FILE]

(run in a checkout that has this file). Tensors, two seeds (0, 1) each:

``x/SOLVER/SDE/DTYPE``         every solver of conf/solver on the mixture, as its yaml is
``brownian/SOLVER/SDE/DTYPE``  the stochastic ones of fixed steps with noise=brownian
``guided/SOLVER/SDE/DTYPE``    labels (0, 1), guidance=[cfg,clip] scale 1.5, denoise_last, twice NFE
``mnist/SOLVER/SDE``           five solvers on the shipped model, label 7, float32
``start/SDE/GRID/DTYPE``       x_T;  ``times/SDE/GRID``: the grid of 7 steps
``noise/...``                  draws of the two noise sources

Metadata: ``facts``, JSON: the evaluations of each key, the refused keys with the refusal, versions.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from machine import here
from mixture import SHAPE, posterior_mean
from safetensors.torch import save_file
from torch import Tensor

from sde_diffusion.condition import Condition
from sde_diffusion.config import build, compose_task, conf_dir
from sde_diffusion.denoiser import CountedDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.grid import TimeGrid
from sde_diffusion.guidance import ClassifierFree, Clip
from sde_diffusion.model import load
from sde_diffusion.noise import Brownian, Seeds
from sde_diffusion.sampler import Sampler
from sde_diffusion.sde import SDE
from sde_diffusion.solvers.base import Solver

HERE = Path(__file__).resolve().parent
SEEDS = [0, 1]
DTYPES = {"float32": torch.float32, "float64": torch.float64}
GRIDS = ("karras", "logsnr", "uniform", "vptime")
GUIDED = ("ancestral", "ddim", "unipc")
MNIST = {"ddim": 6, "heun": 8, "dpmpp_2m": 6, "unipc": 6, "calibrated": 6}
BUDGETS = (12, 13, 11, 14, 10, 15, 9, 16)  # the first that a solver takes


class Mixture(CountedDenoiser):
    def __init__(self) -> None:
        super().__init__(SHAPE, 0.002, 80.0)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        if cond is None:
            return posterior_mean(x, sigma)
        return posterior_mean(x, sigma, cond.values["label"], cond.keep)


def names(group: str) -> list[str]:
    return sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml"))


@cache
def node(*words: str) -> Any:
    return compose_task(["task=sample", *words])


def sde_of(name: str) -> SDE:
    return build(node(f"sde={name}").sde, "sde", SDE)


def solver_of(name: str) -> tuple[Solver, TimeGrid | None]:
    config = node(f"solver={name}")
    grid = config.get("grid")
    solver = build(config.solver, "solver", Solver)
    return solver, None if grid is None else build(grid, "grid", TimeGrid)


def budget(name: str) -> int | None:
    solver, _ = solver_of(name)
    if solver.adaptive:
        return None
    for nfe in BUDGETS:
        try:
            solver.steps(nfe)
        except InputError:
            continue
        return nfe
    raise RuntimeError(f"{name} takes none of {BUDGETS}")


class Record:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.nfe: dict[str, int | None] = {}
        self.refused: dict[str, str] = {}

    def draw(self, key: str, sampler: Any, nfe: int | None, dtype: str, **options: Any) -> None:
        try:
            drawn = sampler().sample(SEEDS, nfe, dtype=DTYPES[dtype], **options)
        except InputError as refusal:
            self.refused[key] = str(refusal)
            return
        assert bool(drawn.x.isfinite().all()), key
        self.tensors[key] = drawn.x.contiguous()
        self.nfe[key] = nfe


def mixture(record: Record) -> None:
    for name in names("solver"):
        nfe = budget(name)
        solver, _ = solver_of(name)
        for sde in names("sde"):
            for dtype in DTYPES:

                def sampler(noise: Any, name: str = name, sde: str = sde) -> Sampler:
                    solver, grid = solver_of(name)
                    return Sampler.build(sde_of(sde), Mixture(), solver, grid, noise)

                record.draw(f"x/{name}/{sde}/{dtype}", lambda s=sampler: s(Seeds()), nfe, dtype)
                if solver.stochastic and not solver.adaptive:
                    record.draw(
                        f"brownian/{name}/{sde}/{dtype}",
                        lambda s=sampler: s(Brownian()),
                        nfe,
                        dtype,
                    )


def guided(record: Record) -> None:
    for name in GUIDED:
        for sde in names("sde"):
            for dtype in DTYPES:

                def sampler(name: str = name, sde: str = sde) -> Sampler:
                    solver, grid = solver_of(name)
                    inner = Clip(ClassifierFree(Mixture(), 1.5))
                    return Sampler.build(sde_of(sde), inner, solver, grid, Seeds(), True)

                record.draw(f"guided/{name}/{sde}/{dtype}", sampler, 24, dtype,
                            cond=Condition.label([0, 1]))  # fmt: skip


def shipped(record: Record) -> None:
    model = load("mnist")
    for name, nfe in MNIST.items():
        for sde in names("sde") if name == "calibrated" else ["edm"]:

            def sampler(name: str = name, sde: str = sde) -> Sampler:
                solver, grid = solver_of(name)
                return Sampler.build(sde_of(sde), model.denoiser, solver, grid, Seeds())

            record.draw(f"mnist/{name}/{sde}", sampler, nfe, "float32",
                        cond=model.condition(7, SEEDS))  # fmt: skip


def starts(record: Record) -> None:
    for sde in names("sde"):
        for grid in GRIDS:
            times = build(node(f"grid={grid}").grid, "grid", TimeGrid).times(sde_of(sde), 7)
            record.tensors[f"times/{sde}/{grid}"] = times
            for dtype, kind in DTYPES.items():
                z = Seeds().batch(SEEDS, SHAPE, kind).fresh()
                record.tensors[f"start/{sde}/{grid}/{dtype}"] = sde_of(sde).prior(z, times[0])


def noises(record: Record) -> None:
    seeds = [0, 1, 2**40 + 3]
    t = torch.tensor([80.0, 7.5, 0.3, 0.002, 0.001], dtype=torch.float64)
    for name, source in {"seeds": Seeds(), "brownian": Brownian()}.items():
        noise = source.batch(seeds, (2, 3), torch.float64)
        drawn = [noise.fresh(), *(noise.normal(a, b) for a, b in pairwise(t))]
        record.tensors[f"noise/{name}"] = torch.stack(drawn)
        record.tensors[f"noise/{name}/entropy"] = torch.tensor(noise.entropy())


def main(target: Path) -> None:
    record = Record()
    for part in (mixture, guided, shipped, starts, noises):
        part(record)
    facts = {
        "revision": "7a19cb7", "seeds": SEEDS, "threads": torch.get_num_threads(),
        "machine": here(),
        "nfe": record.nfe, "refused": record.refused,
    }  # fmt: skip
    save_file(record.tensors, target, {"facts": json.dumps(facts, sort_keys=True)})
    print(f"{len(record.tensors)} tensors, {target.stat().st_size} bytes; refused:")
    for key, line in record.refused.items():
        print(f"  {key}: {line}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "solvers.safetensors")
