"""Is an average of weights that was never tracked the one that tracking would have given?"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import page
import render
import torch
from torch import Tensor

from sde_diffusion.config.compose import compose_task, plain
from sde_diffusion.data import Digits
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.provenance import machine
from sde_diffusion.training.ema import Averaged, PowerEMA
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.posthoc import WIDTHS, Snapshots, coefficients, stored
from sde_diffusion.training.schedule import InverseSqrt
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.validation import validation_losses

STEPS, EVERY = 2000, 25
WANTED = [0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25]
COUNTS = [10, 20, 40, 80]  # snapshots of each width


def recipe() -> tuple[Spec, TrainConfig]:
    """The digits recipe in fewer steps, at a rate that does not fall to nothing."""
    config = compose_task(["task=train", "experiment=digits"])
    fields = {k: v for k, v in plain(config.network).items() if k != "_target_"}
    spec = Spec(
        "unet", {**fields, "channels": 1, "classes": 10},
        "karras", {"sigma_data": 1.0}, (1, 8, 8), classes=10, data="digits",
    )  # fmt: skip
    return spec, TrainConfig(
        steps=STEPS, batch_size=32, lr=2e-3, warmup=100, save_every=STEPS, keep=1
    )


def flat(tensors: dict[str, Tensor]) -> Tensor:
    """All floating-point weights as one float64 vector, in order of name."""
    names = sorted(name for name, value in tensors.items() if value.is_floating_point())
    return torch.cat([tensors[name].double().flatten() for name in names])


def plain_coefficients(steps: list[int], widths: list[float], wanted: float) -> np.ndarray:
    """Least squares without the sum of one, from the profiles summed over whole steps."""

    def weights(step: int, width: float) -> np.ndarray:
        edges = np.minimum(np.arange(STEPS + 1) / step, 1) ** (PowerEMA(width).gamma + 1)
        return np.diff(edges)

    basis = np.stack([weights(s, w) for s, w in zip(steps, widths, strict=True)])
    return np.linalg.lstsq(basis.T, weights(STEPS, wanted), rcond=None)[0]


def measure(folder: Path) -> dict[str, Any]:
    """Train with everything tracked, and compare: errors by width and number of snapshots."""
    spec, config = recipe()
    data, test = Digits(split="train").load(), Digits(split="test").load()
    parts = Parts(LogNormal(), schedule=InverseSqrt(500), ema=PowerEMA(0.1))
    trainer = Trainer(spec, data, parts, config, folder / "run")
    network = trainer.denoiser.network
    snapshots = Snapshots(network)
    direct = {width: Averaged(network, PowerEMA(width)) for width in WANTED}
    for metrics in trainer.run():
        step = int(metrics["step"])
        snapshots.update(step)
        for average in direct.values():
            average.update(step)
        if step % EVERY == 0:
            snapshots.save(folder, replace(spec, step=step))
    known = stored(folder)
    kept = torch.stack([flat(read_checkpoint(s.path, prefix="model.")[1]) for s in known])
    names = {name for name, _ in network.named_parameters()}
    final = flat({k: v for k, v in network.state_dict().items() if k in names})
    rows = []
    for width, average in direct.items():
        truth = flat({k: v for k, v in average.network.state_dict().items() if k in names})
        row: dict[str, Any] = {
            "width": width,
            "from_final": float((truth - final).norm() / truth.norm()),
            "loss": mean_loss(trainer, average, test),
        }
        for count in COUNTS:
            every = STEPS // count
            used = [i for i, s in enumerate(known) if s.spec.step % every == 0]
            steps = [known[i].spec.step for i in used]
            widths = [known[i].sigma_rel for i in used]
            c = torch.from_numpy(coefficients(steps, widths, STEPS, width))
            free = torch.from_numpy(plain_coefficients(steps, widths, width))
            half = kept[used].half().double()
            row[f"error_{count}"] = float((c @ kept[used] - truth).norm() / truth.norm())
            row[f"free_{count}"] = float((free @ kept[used] - truth).norm() / truth.norm())
            row[f"half_{count}"] = float((c @ half - truth).norm() / truth.norm())
        rows.append(row)
    return {"rows": rows, "weights": len(final), **machine()}


def mean_loss(trainer: Trainer, average: Averaged, test: Any) -> float:
    """Held-out loss of an average, the mean over eight noise levels."""
    d = trainer.denoiser
    denoiser = NetworkDenoiser(
        average.network, d.parameterization, d.shape, d.sigma_min, d.sigma_max
    )
    losses = validation_losses(denoiser, test)
    return sum(losses.values()) / len(losses)


def main() -> None:
    """Write posthoc_ema.md."""
    begin = time.perf_counter()
    folder = page.HERE.parent / "outputs" / "benchmark-posthoc_ema"
    found = page.once(folder, "result", lambda: measure(folder))
    rows = found["rows"]
    heads = [f"{count} x 2" for count in COUNTS]

    def error(row: dict[str, Any], kind: str) -> list[str]:
        return [f"{row[f'{kind}_{count}']:.1e}" for count in COUNTS]

    text = [
        "# An average of weights, chosen after training",
        f"A network of the 8 x 8 digits ({found['weights']:,} weights) is trained for {STEPS:,} "
        f"steps; averages of relative width {WIDTHS[0]:g} and {WIDTHS[1]:g} are tracked and "
        f"stored every {EVERY} steps (`snapshot_every={EVERY}`). Beside them the power-function "
        "average of each width of the table is tracked directly. The post-hoc one is a sum of "
        "stored ones, by least squares between the profiles, under the condition that the "
        "coefficients sum to one. The goal is a relative error of 1e-3.",
        "## Post-hoc against tracked",
        "Relative error of the vector of all weights, by how many snapshots of each of the two "
        "widths are used. *To the final weights*: how far the average lies from the weights of the "
        "last step, on the same scale, which is what there is to be reproduced.",
        render.markdown(
            ["width", "to the final weights", *heads, "held-out loss"],
            [
                [
                    f"{r['width']:g}",
                    f"{r['from_final']:.1e}",
                    *error(r, "error"),
                    f"{r['loss']:.4f}",
                ]
                for r in rows
            ],
        ),
        "A width that was tracked is its own last snapshot. Below the smaller and above the larger "
        "of the two, a width is an extrapolation and needs more snapshots.",
        "## What the sum of one is worth",
        "The same without the condition on the coefficients, as published; what did not change "
        "in training is then scaled by their sum.",
        render.markdown(["width", *heads], [[f"{r['width']:g}", *error(r, "free")] for r in rows]),
        "## Snapshots in half precision",
        "With the condition, from snapshots rounded to float16: coefficients of both signs amplify "
        "the rounding. Snapshots are written in float32 for that reason; models in float16.",
        render.markdown(["width", *heads], [[f"{r['width']:g}", *error(r, "half")] for r in rows]),
        "## Where the numbers come from",
        f"- command: `python benchmarks/{Path(sys.argv[0]).name}`, "
        f"{time.perf_counter() - begin:.0f} s\n"
        f"- machine: {found['machine']}\n- date: {found['date']}, revision: {found['revision']}",
    ]
    render.written("posthoc_ema", "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
