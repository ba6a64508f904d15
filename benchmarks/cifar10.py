"""Does CIFAR-10 train from the shipped config, end to end, and how fast?

A short run of ``experiment=cifar10`` with a small network, then images of it and their distance.
The images are found as ``data=cifar10`` finds them (CIFAR10_ROOT), or by data.root=FILE after the
script's name. A killed run goes on where it was, in outputs/benchmark-cifar10.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import page
import torch

from sde_diffusion.checkpoint import load_denoiser
from sde_diffusion.config import compose_task
from sde_diffusion.files import write_atomically
from sde_diffusion.tasks import evaluate, sample, train
from sde_diffusion.tasks.common import machine
from sde_diffusion.tasks.extractor import both_splits
from sde_diffusion.validation import validation_losses

FOLDER = page.HERE.parent / "outputs" / "benchmark-cifar10"
STEPS, BATCH = 1000, 64
TRAIN = ["experiment=cifar10", "network=unet_mnist", f"steps={STEPS}", f"batch_size={BATCH}",
         "warmup=100", "save_every=100", "snapshot_every=0", "tracker=csv"]  # fmt: skip
DRAWN, NFE = 500, 16


def trained(given: list[str]) -> dict[str, Any]:
    """The run, and the seconds it took; a run that was killed is timed from where it goes on."""
    folder, kept = FOLDER / "train", FOLDER / "train.json"
    if not kept.is_file():
        wall, own = time.perf_counter(), time.process_time()
        train.run(compose_task(["task=train", *TRAIN, *given]), folder)
        spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - own}
        write_atomically(kept, json.dumps({**spent, **machine()}).encode())
    return json.loads(kept.read_text())


def losses(given: list[str]) -> list[list[str]]:
    """The loss on held-out images at each level, before the first step and after the last."""
    _, held_out = both_splits(compose_task(["task=train", *TRAIN, *given]))
    spec, after = load_denoiser(FOLDER / "train" / "model.safetensors")
    torch.manual_seed(0)
    before = spec.build().eval()
    found = [validation_losses(denoiser, held_out) for denoiser in (before, after)]
    return [
        [f"{sigma:.3g}", f"{one:.3f}", f"{found[1][sigma]:.3f}"] for sigma, one in found[0].items()
    ]


def distances() -> dict[str, Any]:
    """result.json of ``sde-diffusion evaluate`` for images of the model, made if not there."""
    model = FOLDER / "train" / "model.safetensors"
    drawn, judged = FOLDER / "sample", FOLDER / "evaluate"
    if not (judged / "result.json").is_file():
        words = [f"checkpoint={model}", f"n={DRAWN}", "solver=unipc", f"nfe={NFE}", "label=all"]
        sample.run(compose_task(["task=sample", *words]), drawn)
        words = [f"images={drawn / 'samples.npz'}", "extractor=cifar-cnn"]
        evaluate.run(compose_task(["task=evaluate", *words]), judged)
    return json.loads((judged / "result.json").read_text())


def main() -> None:
    given = sys.argv[1:]
    run = trained(given)
    rows = losses(given)
    judged = distances()
    shutil.copyfile(FOLDER / "train" / f"samples_{STEPS}.png", page.HERE / "cifar10.png")
    spec, denoiser = load_denoiser(FOLDER / "train" / "model.safetensors")
    weights = sum(p.numel() for p in denoiser.network.parameters())
    images = STEPS * BATCH
    row = judged["rows"][-1]
    made = [[str(row["samples"]), page.number(row["fd"]), page.number(row["floor"])]]
    text = f"""# CIFAR-10: the path, on one core

`{shlex.join(["sde-diffusion", "train", *TRAIN, "data.root=cifar10-jpeg.zip"])}`: the shipped
recipe `experiment=cifar10` with everything that belongs to it (class labels, EDM's non-leaky
augmentation, EDM's weighting and noise levels, power-function EMA, bfloat16), but a network of
{weights / 1e6:.2f} M weights that works at 16 x 16 in place of the recipe's DDPM++ of 56 M, and
{STEPS:,} steps of {BATCH} images in place of 100,000 of 512. **It proves that the path works; its
images are not worth looking at for their own sake.** The images of the data set are JPEG copies:
figures made on them compare among themselves alone.

- {images:,} images in {run["wall"] / 60:.1f} minutes on a machine that was doing other work too:
  {images / run["wall"]:.0f} images/s by the clock, {images / run["processor"]:.0f} images a second
  of processor time, validation, sample grids and checkpoints included.

## Loss on held-out images, level by level

The published loss of the Karras parameterization on 256 test images, the averaged weights.

{page.table(["sigma", "before", "after"], rows)}

## Images

![Forty images, one class a column](cifar10.png)

{page.table(["images", judged["metric"], "floor"], made)}

{DRAWN} images of solver=unipc at {NFE} evaluations; the floor is the distance of as many held-out
real images.

## Where the numbers come from

- command: `python benchmarks/{Path(sys.argv[0]).name}`
- machine: {run["machine"]}
- date: {run["date"]}, revision: {run["revision"]}
- network {spec.network} {spec.network_args}
"""
    write_atomically(page.HERE / "cifar10.md", text.encode())
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
