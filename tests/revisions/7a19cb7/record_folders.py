"""Kept as it was run: makes folders/ with the command line of revision 7a19cb7, and no other.

    git worktree add /tmp/checkout 7a19cb7
    export OMP_NUM_THREADS=1 PYTHONPATH=/tmp/checkout:tests/revisions
    python tests/revisions/7a19cb7/record_folders.py

(run in a checkout that has this file). ``folders/finished`` is a working directory in which every
command of ``COMMANDS`` has been run to its end; ``folders/unfinished`` one in which some of them
were killed on their way (SIGKILL, at the call that ``KILLED`` names). ``commands.json`` has the
words of each command, and the output folder that the revision chose for it by its digest.

Changed by hand afterwards: pictures and pages that no reader opens are gone; paths of this machine
in .hydra/hydra.yaml are /checkout and /folders; the time in the parts of the unfinished comparison
is a million seconds, so that a cell that is joined of them can be told from one sampled anew; an
extractor and a calibration that were killed lack a file more than the kill cost them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import here
from safetensors import safe_open

import sde_diffusion
from sde_diffusion.tasks import cells

HERE = Path(__file__).resolve().parent
TARGET = HERE / "folders"
MARKED_SECONDS = 1e6
NO_READER = ("*.png", "*.webp", "report.html")

PCA = ["extractor=pca", "extractor.fit=digits", "extractor.dim=4", "reference=digits"]
PIXELS = ["extractor=pixel", "extractor.height=8", "extractor.width=8"]
# {NAME} stands for the folder that the command of that name was given.
COMMANDS: dict[str, list[str]] = {
    "train": [
        "train", "experiment=digits", "network.args.widths=[4]", "network.args.embedding=4",
        "network.args.attention=[]", "weighting=uncertainty", "augment=[flip]", "steps=12",
        "save_every=4", "snapshot_every=4", "batch_size=8", "warmup=2", "tracker=csv",
    ],
    "train-vectors": [
        "train", "data=toy", "data.n=200", "network=mlp", "network.args.width=8",
        "network.args.blocks=1", "network.args.embedding=4", "denoiser=v", "levels=loguniform",
        "weighting=edm", "schedule=linear", "ema=warmup", "sde=vp", "steps=6", "save_every=3",
        "batch_size=16", "warmup=2", "keep=1",
    ],
    "ema": ["ema", "checkpoint={train}", "width=[0.06,0.08]", "data=digits", "images=16",
            "noise_levels=2"],
    "reference": ["reference", "data=digits", *PIXELS, "held_out=40", "keep=100"],
    "extractor": ["extractor", "data=digits", "name=small", "epochs=1", "dim=4", "keep=100"],
    "calibrate": ["calibrate", "checkpoint=tiny.safetensors", "name=few", "nfe=[2,3]", "noises=8",
                  "held_out=4", "tries=2", "budget=2", "nodes=8", "batch_size=4"],
    "sample": ["sample", "checkpoint=tiny.safetensors", "n=16", "nfe=3", "sde=flow",
               "solver=ancestral", "trajectory=true"],
    "sample-calibrated": ["sample", "checkpoint=tiny.safetensors", "n=4", "nfe=3",
                          "solver=calibrated", "solver.path={calibrate}/few.safetensors"],
    "sample-vectors": ["sample", "checkpoint={train-vectors}/model.safetensors", "seeds=3-9",
                       "nfe=4", "solver=heun", "noise=brownian", "grid.rho=5"],
    "compare": ["compare", "checkpoint=tiny.safetensors", "solvers=[ddim,ancestral]", "nfe=[1,2]",
                "samples=[20,520]", "batch_size=500", *PCA],
    "compare-fields": [
        "compare", "checkpoint=tiny.safetensors", "sde=vp", "noise=brownian", "guidance=[cfg,clip]",
        "guidance.scale=2", "nfe=[4]", "samples=[12]", "animation=false", "metrics=[energy]",
        "solvers=[predictor_corrector,{churned: {solver: heun, grid: uniform, s_churn: 1}},"
        "{loose: {solver: dopri, error: 0.1}},{fitted: {solver: calibrated,"
        "path: few.safetensors, allow_other_model: true}}]",
        *PIXELS, "reference={reference}/pixel4-reference.safetensors",
    ],
    "compare-widths": ["compare", "checkpoint={train}", "ema_width=[0.06]", "solvers=[ddim]",
                       "nfe=[2]", "samples=[12]", "repeats=2", "animation=false", "metrics=[]",
                       "label=3", *PCA],
    "evaluate": ["evaluate", "images={sample}/samples.npz", "extractor=mnist-cnn",
                 "extractor.file={extractor}/small.safetensors", "metrics=[energy,sliced_w2]",
                 "reference={extractor}/small-reference.safetensors", "train=digits"],
    "likelihood": ["likelihood", "checkpoint=tiny.safetensors", "data=digits", "n=4",
                   "batch_size=2", "probes=1", "error=0.3"],
    "interpolate": ["interpolate", "checkpoint=tiny.safetensors", "images=digits", "pairs=3",
                    "steps=3", "batch_size=3", "error=0.1", "label=[0,2,4]"],
    "analyse": ["analyse", "data=digits", "solvers=[ddim,unipc]", "grids=[default,karras]",
                "nfe=[4,6]", "sde=vp"],
}  # fmt: skip

# What other commands read by a name of its own, in both working directories.
KEPT = {
    "train": ("model.safetensors", "tiny.safetensors"),
    "calibrate": ("few.safetensors", "few.safetensors"),
}
# A command, and the call (module, attribute, number) in which it is killed.
KILLED = {
    "train": ("sde_diffusion.training.loop", "Trainer._advance", 11),
    "train-vectors": ("sde_diffusion.training.loop", "Trainer._advance", 5),
    "compare": ("sde_diffusion.tasks.cells", "save_cell", 5),
    "compare-fields": ("sde_diffusion.tasks.cells", "save_cell", 3),
    "calibrate": ("sde_diffusion.tasks.calibrate", "save_rule", 2),
    "likelihood": ("sde_diffusion.tasks.parts", "write_atomically", 2),
    "interpolate": ("sde_diffusion.tasks.parts", "write_atomically", 3),
    "extractor": ("sde_diffusion.metrics.reference", "ReferenceSet.save", 1),
}
KILLER = """
import importlib, os, signal, sys
module, path, number = sys.argv[1:4]
sys.argv[1:4] = []
owner, calls = importlib.import_module(module), []
*outer, name = path.split(".")
for part in outer:
    owner = getattr(owner, part)
original = getattr(owner, name)
def counting(*args, **keys):
    calls.append(1)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **keys)
setattr(owner, name, counting)
from sde_diffusion.cli import main
main()
"""


def run(words: list[str], cwd: Path, kill: tuple[str, str, int] | None = None) -> Path:
    """Run one command; returns its output folder relative to ``cwd``."""
    environment = {**os.environ, "SDE_DIFFUSION_CACHE": "cache"}
    start = (
        ["-m", "sde_diffusion.cli"] if kill is None
        else ["-c", KILLER, kill[0], kill[1], str(kill[2])]
    )  # fmt: skip
    before = set(cwd.glob("outputs/*"))
    done = subprocess.run([sys.executable, *start, *words], cwd=cwd, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    wanted = 0 if kill is None else -signal.SIGKILL
    if done.returncode != wanted:
        raise RuntimeError(f"{words}: {done.returncode}\n{done.stderr[-2000:]}")
    (folder,) = set(cwd.glob("outputs/*")) - before
    return folder.relative_to(cwd)


def mark(folder: Path) -> None:
    """Write ``MARKED_SECONDS`` into the finished parts of a cell."""
    parts = sorted(folder.glob("cells/*/*.safetensors"))
    assert parts
    for path in parts:
        with safe_open(path, framework="pt") as file:
            depends = json.loads(file.metadata()[cells.KEY])["depends"]
        cell = cells.load_cell(path, depends)
        assert cell is not None
        cells.save_cell(path, replace(cell, seconds=MARKED_SECONDS), depends)


def tidy(root: Path) -> None:
    """Remove what no reader opens, and this machine's paths."""
    for pattern in NO_READER:
        for path in root.rglob(pattern):
            path.unlink()
    checkout = str(Path(sde_diffusion.__file__).resolve().parents[1])
    for path in root.rglob(".hydra/hydra.yaml"):
        text = path.read_text().replace(checkout, "/checkout").replace(str(root.parent), "/folders")
        path.write_text(text)
    shutil.rmtree(root / "cache" / "matplotlib", ignore_errors=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        finished, unfinished = Path(name, "finished"), Path(name, "unfinished")
        finished.mkdir()
        unfinished.mkdir()
        chosen: dict[str, Any] = {}

        def words_of(command: str) -> list[str]:
            found = []
            for word in COMMANDS[command]:
                for other, entry in chosen.items():
                    word = word.replace(f"{{{other}}}", entry["folder"])
                found.append(word)
            return found

        for command in COMMANDS:
            words = words_of(command)
            folder = str(run(words, finished))
            chosen[command] = {"words": words, "folder": folder}
            print(command, folder, flush=True)
            if command in KEPT:
                source, target = KEPT[command]
                for root in (finished, unfinished):
                    shutil.copy(finished / folder / source, root / target)
        # What a killed command reads of another.
        known = Path(chosen["reference"]["folder"], "pixel4-reference.safetensors")
        (unfinished / known).parent.mkdir(parents=True)
        shutil.copy(finished / known, unfinished / known)
        for command, kill in KILLED.items():
            folder = run(chosen[command]["words"], unfinished, kill)
            assert str(folder) == chosen[command]["folder"]
            print(command, "killed", flush=True)
        mark(unfinished / chosen["compare"]["folder"])
        last = sorted((unfinished / chosen["calibrate"]["folder"] / "parts").glob("*-000008-*"))
        last[0].unlink()
        for root in (finished, unfinished):
            tidy(root)
        shutil.rmtree(unfinished / "cache", ignore_errors=True)
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(name, TARGET)
    content = {"revision": "7a19cb7", "machine": here(), "threads": 1,
               "marked_seconds": MARKED_SECONDS, "commands": chosen,
               "unfinished": list(KILLED)}  # fmt: skip
    (HERE / "commands.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
