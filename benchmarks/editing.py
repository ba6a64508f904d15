"""Do known pixels stay, and does the border of what is drawn show? MNIST in ``MNIST_ROOT``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import render
import torch
from page import HERE, once
from PIL import Image
from torch import Tensor

from sde_diffusion import (
    DDNM,
    DDRM,
    EDM,
    MNIST,
    DiffPIR,
    Execution,
    Heun,
    Karras,
    Mask,
    PiGDM,
    RePaint,
    Request,
    Sampler,
    Scans,
    load,
    with_measurement,
)  # fmt: skip
from sde_diffusion.guidance import Guidance, guided
from sde_diffusion.images.pixels import to_float, to_uint8
from sde_diffusion.images.sheet import image_rows, png_bytes
from sde_diffusion.solvers.base import Solver

PICTURES, SHOWN = 32, 4
DATA = ("scans", "mnist")
Made = Callable[[Mask], tuple[Solver, Guidance | None]]
METHODS: dict[str, tuple[int, Made]] = {
    "DDRM": (20, lambda a: (DDRM(a), None)),
    "DDRM, eta 1": (20, lambda a: (DDRM(a, eta=1.0), None)),
    "DDNM": (20, lambda a: (DDNM(a), None)),
    "DiffPIR": (20, lambda a: (DiffPIR(a), None)),
    "PiGDM, Heun's method": (20, lambda a: (Heun(), PiGDM(a))),
    "RePaint, 5 steps": (20, lambda a: (RePaint(a), None)),
    "RePaint, 20 steps": (80, lambda a: (RePaint(a), None)),
    "nothing known, Heun's method": (40, lambda a: (Heun(), None)),
}
PLACES = "across", "within", "elsewhere"


def hole(k: int, side: int) -> Tensor:
    """True [side, side] in a box of 1/4 to 7/16 of the side, another one for each picture."""
    generator = torch.Generator().manual_seed(k)
    h, w = torch.randint(side // 4, 7 * side // 16 + 1, (2,), generator=generator).tolist()
    low, high = 3 * side // 16, 13 * side // 16
    top, left = (int(torch.randint(low, high - n, (1,), generator=generator)) for n in (h, w))
    anew = torch.zeros(side, side, dtype=torch.bool)
    anew[top : top + h, left : left + w] = True
    return anew


def steps(picture: Tensor, anew: Tensor) -> list[float]:
    """Mean |difference| of neighbours across the border of the hole, within it, and of all pairs
    that are not across it.

    Args:
        picture: [H, W], -1 .. 1. anew: bool [H, W].
    """
    found: list[list[Tensor]] = [[], [], []]
    for axis in (0, 1):
        n = picture.shape[axis] - 1
        change = (picture.narrow(axis, 1, n) - picture.narrow(axis, 0, n)).abs()
        a, b = anew.narrow(axis, 1, n), anew.narrow(axis, 0, n)
        for kept, place in zip(found, (a ^ b, a & b, ~(a ^ b)), strict=True):
            kept.append(change[place])
    return [float(torch.cat(place).mean()) for place in found]


def pictures(data: str) -> Tensor:
    """Held-out pictures uint8 [N, 1, H, W]."""
    if data == "scans":
        return Scans(split="test").phantoms(0, PICTURES).images
    return MNIST(split="test").load().images[:PICTURES]


def drawn_by(data: str, name: str) -> dict[str, Any]:
    """What a method draws in the holes of held-out pictures, one sample each, as ``edit`` does."""
    nfe, made = METHODS[name]
    images, operator = pictures(data), Mask()
    anew = torch.stack([hole(k, images.shape[-1]) for k in range(PICTURES)])
    x, known = to_float(images), (~anew[:, None]).float()
    solver, guidance = made(operator)
    denoiser = load(data, precision="bfloat16").denoiser
    denoiser = guided(denoiser, [] if guidance is None else [guidance])
    sampler = Sampler.build(EDM(), denoiser, solver, Karras())
    free = name.startswith("nothing")
    cond = None if free else with_measurement(known * x, mask=known)
    found = sampler.sample(Request(range(PICTURES), nfe, cond), Execution(PICTURES))
    kept = operator.at(x.shape[1:], {"mask": known}).kept(found.x, x)
    drawn = to_uint8(found.x if free else kept)
    mine = [steps(p[0], a) for p, a in zip(to_float(drawn), anew, strict=True)]
    truth = [steps(p[0], a) for p, a in zip(x, anew, strict=True)]
    return {
        "nfe": [found.nfe, found.backward_passes],
        "changed": int((drawn != images)[known > 0].sum()),
        "mine": mine,
        "truth": truth,
        "pictures": drawn[:SHOWN].tolist(),
    }


def ratio(found: Mapping[str, Any], over: str | None = None, above: str = "across") -> str:
    """The step at a place, or its quotient by that at another, over the same of real pictures: of
    sums over pictures, with a 95 % interval by the jackknife."""
    mine, truth = (torch.tensor(found[key], dtype=torch.float64) for key in ("mine", "truth"))

    def of(rows: Tensor) -> Tensor:
        total = (mine[rows].sum(0) / truth[rows].sum(0))[PLACES.index(above)]
        if over is None:
            return total
        return total / (mine[rows].sum(0) / truth[rows].sum(0))[PLACES.index(over)]

    n = len(mine)
    every = torch.arange(n)
    left = torch.stack([of(every[every != k]) for k in range(n)])
    error = ((n - 1) / n * (left - left.mean()).square().sum()).sqrt()
    return f"{float(of(every)):.2f} ± {1.96 * float(error):.2f}"


def row(name: str, found: Mapping[str, Any]) -> list[Any]:
    changed = "-" if name.startswith("nothing") else found["changed"]
    evaluations, back = found["nfe"]
    return [
        name, f"{evaluations:g}, {back:g}", changed, ratio(found), ratio(found, above="within"),
        ratio(found, "elsewhere"), ratio(found, "within"),
    ]  # fmt: skip


def shown(data: str, cells: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """The pictures, the boxes, then what each method drew."""
    images = pictures(data)[:SHOWN]
    grey = torch.tensor(96, dtype=torch.uint8)
    masked = [torch.where(hole(k, images.shape[-1]), grey, images[k]) for k in range(SHOWN)]
    columns = [list(images), masked] + [
        [torch.tensor(x, dtype=torch.uint8) for x in cell["pictures"]]
        for name, cell in cells.items() if not name.startswith("nothing")
    ]  # fmt: skip
    return image_rows([list(each) for each in zip(*columns, strict=True)], 128)


def main() -> None:
    """Write editing.md."""
    folder = HERE.parent / "outputs" / "benchmark-editing"
    head = ["method", "NFE, backward", "known pixels changed", "step across the border",
            "step within", "seam: across over elsewhere", "across over within"]  # fmt: skip
    tables, sheets = {}, []
    for data in DATA:
        cells = {
            name: once(folder, f"{data}-{k}", lambda d=data, n=name: drawn_by(d, n))
            for k, name in enumerate(METHODS)
        }
        tables[data] = render.table(head, [row(*each) for each in cells.items()])
        sheets.append(shown(data, cells))
    width = max(sheet.width for sheet in sheets)
    whole = Image.new("L", (width, sum(s.height for s in sheets) + 8), 96)
    whole.paste(sheets[0], (0, 0))
    whole.paste(sheets[1], (0, sheets[0].height + 8))
    (HERE / "editing.png").write_bytes(png_bytes(whole))
    values = {"pictures": PICTURES, "scans": tables["scans"], "mnist": tables["mnist"]}
    render.page("editing", values)


if __name__ == "__main__":
    main()
