"""Do known pixels stay, and does the border of what is drawn show?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import render
import torch
from page import HERE, once
from PIL import Image
from posteriors_page import average
from torch import Tensor

from sde_diffusion import Scans, load
from sde_diffusion.images.pixels import to_float
from sde_diffusion.images.sheet import image_rows, png_bytes

PICTURES, SEEDS = 32, range(1)
NFE = 20
METHODS: dict[str, dict[str, Any]] = {
    "DDRM": {"method": "ddrm"},
    "DDNM": {"method": "ddnm"},
    "DiffPIR": {"method": "diffpir"},
    "RePaint": {"method": "repaint"},
    "PiGDM, Heun's method": {"method": "pigdm"},
}
SHOWN = 4


def hole(k: int) -> Tensor:
    """True [64, 64] in a box of 16 to 28 pixels a side, another one for each picture."""
    generator = torch.Generator().manual_seed(k)
    h, w = torch.randint(16, 29, (2,), generator=generator).tolist()
    top, left = (int(torch.randint(12, 52 - n, (1,), generator=generator)) for n in (h, w))
    anew = torch.zeros(64, 64, dtype=torch.bool)
    anew[top : top + h, left : left + w] = True
    return anew


def steps(picture: Tensor, anew: Tensor) -> tuple[float, float]:
    """Mean |difference| of neighbours across the border of the hole, and within it.

    Args:
        picture: [H, W], -1 .. 1. anew: bool [H, W].
    """
    across, within = [], []
    for axis in (0, 1):
        n = picture.shape[axis] - 1
        change = (picture.narrow(axis, 1, n) - picture.narrow(axis, 0, n)).abs()
        a, b = anew.narrow(axis, 1, n), anew.narrow(axis, 0, n)
        across.append(change[a ^ b])
        within.append(change[a & b])
    return float(torch.cat(across).mean()), float(torch.cat(within).mean())


def drawn_by(method: Mapping[str, Any]) -> dict[str, Any]:
    """What a method draws in the holes of held-out phantoms."""
    images = Scans(split="test").phantoms(0, PICTURES).images
    model, holes = load("scans", precision="bfloat16"), [hole(k) for k in range(PICTURES)]
    pictures, changed = [], 0
    for image, anew in zip(images, holes, strict=True):
        edited = model.edit(image, anew, n=1, seed=0, nfe=NFE, **method)
        changed += int((edited.images[0] != image)[:, ~anew].sum())
        pictures.append(edited.images[0])
    drawn = torch.stack(pictures)
    truth = [steps(x[0], anew) for x, anew in zip(to_float(images), holes, strict=True)]
    mine = [steps(x[0], anew) for x, anew in zip(to_float(drawn), holes, strict=True)]
    return {
        "changed": changed,
        "across": [m[0] for m in mine],
        "within": [m[1] for m in mine],
        "real_across": [t[0] for t in truth],
        "real_within": [t[1] for t in truth],
        "pictures": drawn[:SHOWN].tolist(),
    }


def ratio(found: Mapping[str, Any]) -> tuple[float, float]:
    """Seam over that of real pictures, and its half-width: ratios of sums, jackknifed."""
    sums = {key: torch.tensor(found[key], dtype=torch.float64) for key in
            ("across", "within", "real_across", "real_within")}  # fmt: skip

    def of(rows: Tensor) -> Tensor:
        total = {key: value[rows].sum() for key, value in sums.items()}
        return total["across"] / total["within"] / (total["real_across"] / total["real_within"])

    n = len(found["across"])
    every = torch.arange(n)
    left = torch.stack([of(every[every != k]) for k in range(n)])
    error = ((n - 1) / n * (left - left.mean()).square().sum()).sqrt()
    return float(of(every)), 1.96 * float(error)


def main() -> None:
    """Write editing.md."""
    folder = HERE.parent / "outputs" / "benchmark-editing"
    found = {name: once(folder, method["method"], lambda m=method: drawn_by(m))
             for name, method in METHODS.items()}  # fmt: skip
    rows, worst = [], 0.0
    for name, cell in found.items():
        value, error = ratio(cell)
        worst = max(worst, value)
        across, within = average(cell["across"])[0], average(cell["within"])[0]
        rows.append([name, cell["changed"], f"{across:.3f}", f"{within:.3f}",
                     f"{value:.2f} ± {error:.2f}"])  # fmt: skip
    first = next(iter(found.values()))
    real = [average(first[key])[0] for key in ("real_across", "real_within")]
    rows.append(["the pictures themselves", 0, *(f"{value:.3f}" for value in real), "1"])
    images = Scans(split="test").phantoms(0, SHOWN).images
    masked = [torch.where(hole(k), torch.tensor(96, dtype=torch.uint8), images[k])
              for k in range(SHOWN)]  # fmt: skip
    columns = [list(images), masked] + [
        [torch.tensor(x, dtype=torch.uint8) for x in cell["pictures"]] for cell in found.values()
    ]
    sheet = image_rows([list(row) for row in zip(*columns, strict=True)])
    sheet = sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST)
    (HERE / "editing.png").write_bytes(png_bytes(sheet))
    head = ["method", "known pixels changed", "step across the border", "step within",
            "seam over real pictures'"]  # fmt: skip
    values = {"pictures": PICTURES, "nfe": NFE, "methods": ", ".join(METHODS),
              "seams": render.table(head, rows), "worst": worst}  # fmt: skip
    render.page("editing", values)


if __name__ == "__main__":
    main()
