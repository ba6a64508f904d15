"""How many bits a dimension does the shipped MNIST model need, and what does training for it buy?

The shipped model on 512 test images; short runs of ``experiment=mnist_likelihood`` beside it on
the same 128. MNIST is found as ``data=mnist`` finds it (MNIST_ROOT), or by data.root=FOLDER after
the script's name. Parts that are done are kept in outputs/benchmark-bits_per_dim.
"""

from __future__ import annotations

import csv
import json
import math
import shlex
import sys
from typing import Any

import matplotlib
import numpy as np
import page
import render
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import compose_task
from sde_diffusion.data import ImageSet
from sde_diffusion.data.splits import both_splits
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.face.load import load
from sde_diffusion.sampling.likelihood import dequantise
from sde_diffusion.tasks import likelihood, train

matplotlib.use("Agg")

FOLDER = page.HERE.parent / "outputs" / "benchmark-bits_per_dim"
# Two short runs for the likelihood: from fresh weights, and on from those of the shipped model.
BUDGET = ["steps=1500", "batch_size=64", "warmup=100", "precision=bfloat16", "save_every=250"]
MORE = ["steps=300", "batch_size=64", "warmup=50", "lr=3e-4", "save_every=300"]
RECIPES = {
    "likelihood": ["experiment=mnist_likelihood", *BUDGET],
    "tuned": ["experiment=mnist_likelihood", "init=mnist-large", "precision=float32", *MORE],
}
MEASURE = ["probes=2", "error=0.02"]
SHIPPED, PAIRED = 512, 128
LEVELS = np.geomspace(0.002, 80.0, 24)
# Test set, 8-bit grey levels, uniform dequantisation, no labels: bits a dimension.
PUBLISHED = [
    ["Real NVP", "1.06", "arXiv:1810.01367, table 2"],
    ["Glow", "1.05", "arXiv:1810.01367, table 2"],
    ["FFJORD (a continuous flow)", "0.99", "arXiv:1810.01367, table 2"],
    ["Residual Flow", "0.970", "arXiv:1906.02735, table 1"],
]


def measured(name: str, checkpoint: str, n: int, given: list[str]) -> dict[str, Any]:
    """result.json of ``sde-diffusion likelihood`` and its bits an image; run if it is not there."""
    folder = FOLDER / f"bits-{name}"
    if not (folder / "result.json").is_file():
        words = ["task=likelihood", f"checkpoint={checkpoint}", f"n={n}", *MEASURE, *given]
        likelihood.run(compose_task(words), folder)
    with open(folder / "bits_per_dim.csv", newline="") as file:
        bits = np.array([float(row["bits_per_dim"]) for row in csv.DictReader(file)])
    result = json.loads((folder / "result.json").read_text())
    assert len(bits) == result["n"] == n
    return {**result, "bits": bits}


def trained(name: str, given: list[str]) -> str:
    """The model of a short run, trained to the end if it is not there."""
    model = FOLDER / name / "model.safetensors"
    if not model.is_file():
        train.run(compose_task(["task=train", *RECIPES[name], *given]), model.parent)
    return str(model)


@torch.no_grad()
def integrand(denoiser: NetworkDenoiser, test: ImageSet, half: bool = False) -> np.ndarray:
    """|D - x_0|^2 / sigma^2 / log 2 of dequantised images: bits a dimension and a unit of u.

    With ``half`` the network works in bfloat16.
    """
    x_0 = dequantise(test.images, range(len(test))).float()
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    cond = None if test.labels is None else Condition.label(test.labels)
    found = []
    for level in LEVELS.tolist():
        sigma = torch.full((len(x_0),), level)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            error = denoiser.squared_error(x_0, sigma, noise, cond).mean(dtype=torch.float64)
        found.append(float(error) / level**2 / math.log(2))
    return np.array(found)


def area(values: np.ndarray, below: float = math.inf) -> float:
    """The integral of a curve over log sigma up to the level ``below``."""
    return float(np.trapezoid(values[below > LEVELS], np.log(LEVELS[below > LEVELS])))


def plot(curves: dict[str, np.ndarray]) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for name, values in curves.items():
        axes.semilogx(LEVELS, values, marker="o", markersize=3, label=name)
    axes.set_xlabel("noise level sigma")
    axes.set_ylabel("bits/dim a unit of log sigma")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(page.HERE / "bits_per_dim.png", dpi=150)
    plt.close(figure)


def row(name: str, bits: np.ndarray) -> list[str]:
    error = bits.std(ddof=1) / len(bits) ** 0.5
    return [name, str(len(bits)), f"{bits.mean():.4f}", f"{error:.4f}"]


def main() -> None:
    given = sys.argv[1:]
    shipped = measured("shipped", "mnist-large", SHIPPED, given)
    models = {name: trained(name, given) for name in RECIPES}
    short = {name: measured(name, model, PAIRED, given) for name, model in models.items()}
    test = both_splits(compose_task(["task=likelihood", *given]))[1][:PAIRED]
    checkpoints = {"shipped": "mnist-large", **models}
    denoisers = {name: load(path).denoiser.eval() for name, path in checkpoints.items()}
    curves = {name: integrand(denoiser, test) for name, denoiser in denoisers.items()}
    rounded = integrand(denoisers["likelihood"], test, half=True)
    plot(curves)
    first = shipped["bits"][:PAIRED]
    bits = {name: found["bits"] for name, found in short.items()}
    ours = [
        row("shipped: 1,536,000 images", shipped["bits"]),
        row(f"shipped, the first {PAIRED}", first),
        row("shipped, then 19,200 images for its likelihood", bits["tuned"]),
        row("less shipped, image by image", bits["tuned"] - first),
        row("fresh weights, 96,000 images for their likelihood", bits["likelihood"]),
        row("less shipped, image by image", bits["likelihood"] - first),
    ]
    u = (math.log(0.03) + 0.4) / 1.4  # the shipped model's levels: mean -0.4, deviation 1.4
    drawn = 0.5 * math.erfc(-u / math.sqrt(2))
    parts = [
        [name, f"{area(c):.3f}", f"{area(c, 0.03):.3f}", f"{area(c) - area(c, 0.03):.3f}"]
        for name, c in {**curves, "likelihood, network in bfloat16": rounded}.items()
    ]
    commands = "\n".join(
        f"sde-diffusion train {shlex.join(RECIPES[name])} data.root=FOLDER" for name in RECIPES
    )
    facts = "\n".join(
        f"- {name}: {found['machine']}, {found['date']}, revision {found['revision']}, model "
        f"{found['model_fingerprint']}, {found['seconds']:.0f} s"
        for name, found in {"shipped": shipped, **short}.items()
    )
    values = {
        "shipped_images": SHIPPED,
        "measure": shlex.join(MEASURE),
        "probes": shipped["hutchinson_standard_error"],
        "ours": render.table(["model", "test images", "bits/dim", "standard error"], ours),
        "commands": commands,
        "paired": PAIRED,
        "drawn": drawn,
        "parts": render.table(["model", "whole", "sigma < 0.03", "sigma > 0.03"], parts),
        "published": render.table(["model", "bits/dim", "source"], PUBLISHED),
        "origins": facts,
        "data": shipped["data"],
        "data_fingerprint": shipped["data_fingerprint"],
    }
    render.page("bits_per_dim", values)


if __name__ == "__main__":
    main()
