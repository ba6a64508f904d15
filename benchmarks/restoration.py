"""What do restored pictures cost and keep? Needs scikit-image, and MNIST in ``MNIST_ROOT``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import render
import torch
from page import HERE, once
from posteriors_page import average
from restoration_tasks import CLASSICAL, TASKS, classical, counted, covered, distance, judged
from torch import Tensor

from sde_diffusion import (
    DAPS,
    DDNM,
    DDRM,
    EDM,
    MMPS,
    MNIST,
    DiffPIR,
    Execution,
    Function,
    Heun,
    Karras,
    PiGDM,
    Request,
    Sampler,
    Scans,
    Shapes,
    load,
    with_measurement,
)  # fmt: skip
from sde_diffusion.guidance import Guidance, guided
from sde_diffusion.images.pixels import to_float
from sde_diffusion.operators import Operator
from sde_diffusion.solvers.base import Solver

NFE = {"mnist": 40, "scans": 20, "shapes": 20}
PICTURES, DRAWS = 100, 19
COVERED = 20  # pictures that are drawn 19 times
Made = Callable[[Operator], tuple[Solver, Guidance | None]]
MORE: dict[str, Made] = {
    "DDNM": lambda a: (DDNM(a), None),
    "DAPS": lambda a: (DAPS(a), None),
    "MMPS, Heun's method": lambda a: (Heun(), MMPS(a)),
}
METHODS: dict[str, Made] = {
    "DDRM": lambda a: (DDRM(a), None),
    "DiffPIR": lambda a: (DiffPIR(a), None),
    "PiGDM, Heun's method": lambda a: (Heun(), PiGDM(a)),
}


def pictures(data: str) -> tuple[Tensor, Tensor | None]:
    """Held-out pictures [N, C, H, W] in -1 .. 1, and the list of their lesions."""
    if data == "scans":
        phantoms = Scans(split="test").phantoms(0, PICTURES)
        return to_float(phantoms.images), phantoms.lesions
    if data == "shapes":
        return to_float(Shapes(split="test", held_out=PICTURES).load().images), None
    return to_float(MNIST(split="test").load().images[:PICTURES]), None


def restored(
    model: Any, made: Made, operator: Operator, y: Tensor, seeds: range, nfe: int
) -> tuple[Tensor, float, float]:
    """Pictures [N, C, H, W] of the measurements, evaluations and backward passes a picture."""
    solver, guidance = made(operator)
    denoiser = guided(model.denoiser, [] if guidance is None else [guidance])
    sampler = Sampler.build(EDM(), denoiser, solver, Karras())
    found = sampler.sample(Request(seeds, nfe, with_measurement(y)), Execution(32))
    return found.x.clamp(-1, 1), found.nfe, found.backward_passes


def task(data: str, name: str) -> dict[str, Any]:
    """One operator on one data set: all methods, and the classical way."""
    truth, lesions = pictures(data)
    model, operator = load(data, precision="bfloat16"), TASKS[name]
    generator = torch.Generator().manual_seed(0)
    shape = tuple(truth.shape[1:])
    normals = torch.randn(len(truth), *operator.at(shape).out, generator=generator)
    y = operator.measure(truth, normals)
    ways: dict[str, Any] = {}
    plain = classical(name, operator, y, shape)
    ways[CLASSICAL[name]] = {"nfe": 0, "back": 0, **judged(plain, truth, operator, y)}
    found = {CLASSICAL[name]: plain}
    some, budget = COVERED, NFE[data]
    for method, made in METHODS.items():
        x, nfe, back = restored(model, made, operator, y, range(len(y)), budget)
        ways[method] = {"nfe": nfe, "back": back, **judged(x, truth, operator, y)}
        found[method] = x
        rows = y[:some].repeat_interleave(DRAWS, 0)
        seeds = range(1000, 1000 + len(rows))
        many, _, _ = restored(model, made, operator, rows, seeds, budget)
        many = many.reshape(some, DRAWS, *shape)
        ways[method] |= covered(many, truth[:some])
        ways[method]["mean_psnr"] = judged(many.mean(1), truth[:some], operator, y[:some])["psnr"]
    for way, x in found.items():
        ways[way]["fd"] = distance(data, x)
    if lesions is not None:
        ways["the truth"] = {"lesions": counted(truth, truth, lesions)}
        for way, x in found.items():
            ways[way]["lesions"] = counted(x, truth, lesions)
    return ways


def denoising() -> dict[str, Any]:
    """Pure denoising, A = 1: the mean of 19 draws against D(y, noise), which is exact.

    Over the root mean square |x - D|, which is about the posterior's deviation.
    """
    truth, _ = pictures("mnist")
    truth, model, some = truth[:COVERED], load("mnist"), COVERED
    operator = Function(lambda x: x, noise=0.5)
    y = operator.measure(
        truth, torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    )
    with torch.no_grad():
        exact = model.denoiser(y, torch.tensor(operator.noise, dtype=torch.float64))
    size = (truth - exact).square().mean().sqrt()
    rows, found = y.repeat_interleave(DRAWS, 0), {}
    for name, made in {**METHODS, **MORE}.items():
        x, nfe, back = restored(model, made, operator, rows, range(len(rows)), NFE["mnist"])
        x = x.reshape(some, DRAWS, *truth.shape[1:])
        bias = ((x.mean(1) - exact).square().mean().sqrt() / size).item()
        spread = (x.var(1).mean().sqrt() / size).item()
        found[name] = {"nfe": nfe, "back": back, "bias": bias, "spread": spread}
    return found


def interval(numbers: list[float] | None, form: str, scale: float = 1.0) -> str:
    """Mean and 95 % half-width over pictures."""
    if not numbers:
        return "-"
    mean, error = average(numbers)
    return f"{scale * mean:{form}} ± {1.96 * scale * error:{form}}"


def table(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    head = ["task", "way", "NFE, backward", "PSNR, dB", "SSIM", "misfit", "FD", "50 %", "90 %",
            "PSNR of the mean of 19"]  # fmt: skip
    rows = []
    for name, ways in found.items():
        for way, cell in ways.items():
            if "psnr" not in cell:
                continue
            rows.append([
                name, way, f"{cell['nfe']:g}, {cell['back']:g}", interval(cell["psnr"], ".1f"),
                interval(cell["ssim"], ".2f"), interval(cell["misfit"], ".2f"),
                f"{cell['fd']:.3g}", interval(cell.get("c50"), ".0f", 100),
                interval(cell.get("c90"), ".0f", 100), interval(cell.get("mean_psnr"), ".1f"),
            ])  # fmt: skip
    return render.table(head, rows)


def lesion_table(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    rows = [
        [name, way, *(cell["lesions"][key] for key in ("found", "missed", "invented"))]
        for name, ways in found.items()
        for way, cell in ways.items()
        if "lesions" in cell
    ]
    return render.table(["task", "way", "found", "missed", "invented"], rows)


def main() -> None:
    """Write restoration.md."""
    folder = HERE.parent / "outputs" / "benchmark-restoration"
    found = {
        data: {
            name: once(folder, f"{data}_{name}".replace(" ", "_").replace(",", ""),
                       lambda d=data, n=name: task(d, n))
            for name in TASKS
        }
        for data in NFE
    }  # fmt: skip
    pure = once(folder, "denoising", denoising)
    rows = [
        [name, f"{c['nfe']:g}, {c['back']:g}", f"{c['bias']:.2f}", f"{c['spread']:.2f}"]
        for name, c in pure.items()
    ]
    head = ["method", "NFE, backward", "error of the mean", "deviation of the draws"]
    fd = {d: once(folder, f"fd_{d}", lambda d=d: distance(d, pictures(d)[0])) for d in NFE}
    values = {
        "pictures": PICTURES, "mnist": table(found["mnist"]), "scans": table(found["scans"]),
        "shapes": table(found["shapes"]), "mnist_fd": f"{fd['mnist']:.3g}",
        "scans_fd": f"{fd['scans']:.3g}", "shapes_fd": f"{fd['shapes']:.3g}",
        "lesions": lesion_table(found["scans"]), "denoising": render.table(head, rows),
    }  # fmt: skip
    render.page("restoration", values)


if __name__ == "__main__":
    main()
