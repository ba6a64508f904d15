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
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import page
import render
import torch

from sde_diffusion.config.compose import build, compose_task, read
from sde_diffusion.data import ImageSet
from sde_diffusion.data.splits import both_splits
from sde_diffusion.models.file import load_denoiser, read_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.tasks import evaluate, sample, train
from sde_diffusion.training.checkpoints import CHECKPOINT
from sde_diffusion.training.settings import BESIDE, TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.validation import validation_losses

FOLDER = page.HERE.parent / "outputs" / "benchmark-cifar10"
STEPS, BATCH = 500, 64
TRAIN = ["experiment=cifar10", "network=unet_mnist", "network.widths=[64,128]",
         "network.middle=null", f"steps={STEPS}", f"batch_size={BATCH}",
         "warmup=100", "save_every=250", "snapshot_every=0", "tracker=csv"]  # fmt: skip
DRAWN, NFE, TIMED = 500, 16, 15


def trained(given: list[str]) -> dict[str, Any]:
    """The seconds that the run took; one that was killed is timed from where it goes on."""
    folder, kept = FOLDER / "train", FOLDER / "train.json"
    if not kept.is_file():
        checkpoint = folder / CHECKPOINT
        begun = read_checkpoint(checkpoint)[0].step if checkpoint.is_file() else 0
        wall, own = time.perf_counter(), time.process_time()
        train.run(compose_task(["task=train", *TRAIN, *given]), folder)
        spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - own}
        write_atomically(kept, json.dumps({"begun": begun, **spent, **machine()}).encode())
    return json.loads(kept.read_text())


def speed(spec: Spec, data: ImageSet, given: list[str]) -> float:
    """Images a second: the median of ``TIMED`` steps of the same run, begun anew."""
    config = compose_task(["task=train", *TRAIN, *given])
    parts = Parts(
        build(config.levels, "levels"),
        build(config.weighting, "weighting"),
        train.augmentation(config),
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(spec, data, parts, read(config, TrainConfig, *BESIDE), Path(folder))
        stamps = [time.perf_counter()]
        for _ in trainer.run():
            stamps.append(time.perf_counter())
            if len(stamps) > TIMED + 3:  # the first steps warm up
                break
    return BATCH / float(np.median(np.diff(stamps[3:])))


def losses(held_out: ImageSet) -> list[list[str]]:
    """The loss on held-out images at each level, before the first step and after the last."""
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
    data, held_out = both_splits(compose_task(["task=train", *TRAIN, *given]))
    rows = losses(held_out)
    judged = distances()
    shutil.copyfile(FOLDER / "train" / f"samples_{STEPS}.png", page.HERE / "cifar10.png")
    spec, denoiser = load_denoiser(FOLDER / "train" / "model.safetensors")
    weights = sum(p.numel() for p in denoiser.network.parameters())
    rate = speed(spec, data, given)
    images = (STEPS - run["begun"]) * BATCH
    row = judged["rows"][-1]
    made = [[str(row["samples"]), render.shown(row["fd"]), render.shown(row["floor"])]]
    resumed = (
        f" It was begun with steps=1000 and killed after step {run['begun']}, for want of time;\n"
        f"  the same command with steps={STEPS} went on, its rate falling faster from there."
        if run["begun"]
        else ""
    )
    command = shlex.join(["sde-diffusion", "train", *TRAIN, "data.root=cifar10-jpeg.zip"])
    values = {
        "millions": weights / 1e6,
        "steps": STEPS,
        "batch": BATCH,
        "trained": command,
        "rate": rate,
        "timed": TIMED,
        "images": images,
        "wall_minutes": run["wall"] / 60,
        "processor_minutes": run["processor"] / 60,
        "resumed": resumed,
        "rows": render.table(["sigma", "before", "after"], rows),
        "distances": render.table(["images", judged["metric"], "floor"], made),
        "drawn": DRAWN,
        "nfe": NFE,
        "machine_of_run": run["machine"],
        "date_of_run": run["date"],
        "revision_of_run": run["revision"],
    }
    render.page("cifar10", values)


if __name__ == "__main__":
    main()
