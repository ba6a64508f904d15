"""Draws ``docs/paths.png`` and ``docs/grids.png``: python docs/draw_concepts.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

from sde_diffusion import AYS, EDM, Karras, KarrasToZero, LogSNR, Uniform, VPTime, wrap
from sde_diffusion.process.grids import TimeGrid

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
INK, BLUE, ORANGE = "#1d2733", "#0072b2", "#d55e00"
LOW, HIGH = 0.02, 20.0
MEANS, WEIGHTS, SPREAD = (-1.0, 1.0), (0.35, 0.65), 0.15
SEEDS = range(12)
PANELS = (
    ("probability-flow ODE, 200 evaluations", [("heun", 200, BLUE)]),
    ("reverse SDE, 500 evaluations", [("euler_maruyama", 500, BLUE)]),
    ("the ODE, 5 evaluations", [("ddim", 5, ORANGE), ("unipc", 5, BLUE)]),
)


def weights(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Density of x = x_0 + sigma n up to a factor, and the mean of x_0 given x, of two normals."""
    variance = SPREAD**2 + sigma**2
    means, prior = torch.tensor(MEANS), torch.tensor(WEIGHTS)
    joint = prior * (-((x[..., None] - means) ** 2) / (2 * variance)[..., None]).exp()
    joint = joint / variance.sqrt()[..., None]
    guesses = means + SPREAD**2 / variance[..., None] * (x[..., None] - means)
    return joint.sum(-1), (joint * guesses).sum(-1) / joint.sum(-1).clamp_min(1e-30)


def paths() -> None:
    """Samples on their way, over the density that they are to follow."""
    model = wrap(
        lambda x, sigma: weights(x[:, 0], sigma)[1][:, None], shape=(1,), name="two normals",
        sigma_min=LOW, sigma_max=HIGH,
    )  # fmt: skip
    levels = torch.logspace(np.log10(HIGH), np.log10(LOW), 300)
    scaled = torch.linspace(-3.5, 3.5, 400)
    x = scaled * (1 + levels[:, None] ** 2).sqrt()
    density = weights(x, levels[:, None].expand_as(x))[0] * (1 + levels[:, None] ** 2).sqrt()
    density = density / density.amax(1, keepdim=True)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    for ax, (title, walks) in zip(axes, PANELS, strict=True):
        ax.pcolormesh(levels, scaled, density.T, cmap="Greys", vmax=2.2, rasterized=True)
        for solver, nfe, colour in walks:
            drawn = model.sample(
                seeds=SEEDS, solver=solver, nfe=nfe, trajectory=True,
                sde=EDM(), grid=Karras(sigma_min=LOW, sigma_max=HIGH),
            )  # fmt: skip
            assert drawn.trajectory is not None
            assert drawn.times is not None
            at = drawn.times.clamp_min(LOW)  # of EDM, times are noise levels
            y = drawn.trajectory[:, :, 0].float() / (1 + at[:, None] ** 2).sqrt()
            mark = "o" if nfe < 10 else None
            lines = ax.plot(at, y, color=colour, lw=1, marker=mark, ms=3)
            lines[0].set_label(solver)
        ax.set(xscale="log", xlim=(HIGH, LOW), ylim=(-3.5, 3.5), title=title)
        ax.set_xlabel("noise level sigma")
        if len(walks) > 1:
            ax.legend(loc="upper left", frameon=False)
    axes[0].set_ylabel("x / sqrt(1 + sigma²)")
    figure.savefig(HERE / "paths.png", dpi=110)
    plt.close(figure)


def grids() -> None:
    """Where ten evaluations are spent."""
    named: dict[str, TimeGrid] = {
        "uniform": Uniform(), "vptime": VPTime(), "logsnr": LogSNR(), "karras": Karras(),
        "karras_to_zero": KarrasToZero(), "ays": AYS(),
    }  # fmt: skip
    figure, ax = plt.subplots(figsize=(8, 2.9), layout="constrained")
    for row, grid in enumerate(named.values()):
        levels = grid.times(EDM(), 10 - grid.to_zero)
        levels = levels[levels > 0]
        ax.plot(levels, [row] * len(levels), "o-", color=BLUE, ms=5, lw=0.8)
    ax.set(xscale="log", xlim=(120, 0.0015), xlabel="noise level sigma")
    ax.set_yticks(range(len(named)), list(named))
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)
    figure.savefig(HERE / "grids.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    plt.rcParams.update({"text.color": INK, "axes.labelcolor": INK, "font.size": 10})
    paths()
    grids()
