"""What does a model of phantoms make of real pictures? Needs scikit-image, whose wheel has them."""

from __future__ import annotations

from typing import Any

import numpy
import render
import torch
from page import HERE, once
from PIL import Image
from restoration import METHODS, restored
from restoration_tasks import CLASSICAL, TASKS, classical, judged
from skimage import data as pictures
from torch import Tensor

from sde_diffusion import Scans, load
from sde_diffusion.images.pixels import to_float, to_uint8
from sde_diffusion.images.sheet import image_rows, png_bytes

SIDE, NFE, DRAWS = 64, 20, 4
SHOWN = ("blur", "MRI 4x", "CT, 16 views")
WAYS = ("DDRM", "PiGDM, Heun's method")


def slices() -> dict[str, Tensor]:
    """Grey 64 x 64 pictures, uint8 [1, 64, 64]: the green of a retina, cells, and a phantom."""
    large = {"retina": pictures.retina()[..., 1], "cells": pictures.cell()}
    found = {}
    for name, x in large.items():
        side = min(x.shape)
        top, left = ((n - side) // 2 for n in x.shape)
        square = Image.fromarray(x[top : top + side, left : left + side])
        small = square.resize((SIDE, SIDE), Image.Resampling.BOX)
        found[name] = torch.from_numpy(numpy.array(small))[None]
    found["a phantom, as trained on"] = Scans(split="test").phantoms(0, 1).images[0]
    return found


def measured() -> dict[str, Any]:
    """PSNR and misfit of each way on each picture and task, and what it draws."""
    images = slices()
    truth, model = to_float(torch.stack(list(images.values()))), load("scans")
    found: dict[str, Any] = {}
    for task in SHOWN:
        operator, shape = TASKS[task], (1, SIDE, SIDE)
        generator = torch.Generator().manual_seed(0)
        normals = torch.randn(len(truth), *operator.at(shape).out, generator=generator)
        y = operator.measure(truth, normals)
        plain = classical(task, operator, y, shape)
        ways = {CLASSICAL[task]: (judged(plain, truth, operator, y), plain)}
        for way in WAYS:
            rows = y.repeat_interleave(DRAWS, 0)
            x, _, _ = restored(model, METHODS[way], operator, rows, range(len(rows)), NFE)
            many = x.reshape(len(truth), DRAWS, *shape)
            each = judged(x, truth.repeat_interleave(DRAWS, 0), operator, rows)
            scores = {k: torch.tensor(v).reshape(-1, DRAWS).mean(1).tolist()
                      for k, v in each.items()}  # fmt: skip
            scores["mean"] = judged(many.mean(1), truth, operator, y)["psnr"]
            ways[way] = (scores, many[:, 0])
        found[task] = {way: {**s, "pictures": to_uint8(x).tolist()} for way, (s, x) in ways.items()}
    return found


def main() -> None:
    """Write real_slices.md."""
    found, images = once(HERE.parent / "outputs" / "benchmark-real", "slices", measured), slices()
    rows, sheet = [], []
    for task, ways in found.items():
        for way, cell in ways.items():
            means = cell.get("mean", [None] * len(images))
            shown = [f"{p:.1f}" + ("" if m is None else f" ({m:.1f})")
                     for p, m in zip(cell["psnr"], means, strict=True)]  # fmt: skip
            misfit = " / ".join(f"{m:.2f}" for m in cell["misfit"])
            rows.append([task, way, *shown, misfit])
    for k, image in enumerate(images.values()):
        sheet.append([image] + [
            torch.tensor(cell["pictures"][k], dtype=torch.uint8)
            for ways in found.values() for cell in ways.values()
        ])  # fmt: skip
    picture = image_rows(sheet)
    picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
    (HERE / "real_slices.png").write_bytes(png_bytes(picture))
    head = ["task", "way", *(f"{name}, dB" for name in images), "misfit"]
    values = {"table": render.table(head, rows), "nfe": NFE, "draws": DRAWS}
    render.page("real_slices", values)


if __name__ == "__main__":
    main()
