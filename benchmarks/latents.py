"""Do latent pipelines draw here what they draw in diffusers, and a trained one too?

``python benchmarks/latents_model.py FOLDER``, then ``python benchmarks/latents.py FOLDER``. The
cells of tiny pipelines and hosts are those of ``tests``; they need the extra [peers], and
k-diffusion without its dependencies. A killed run goes on where it was.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import diffusers
import latents_model
import numpy as np
import pytest
import render
import torch
from page import HERE, once

import sde_diffusion as sd
from sde_diffusion.config.compose import compose_task
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float, to_uint8
from sde_diffusion.images.sheet import image_rows, png_bytes
from sde_diffusion.tasks import compare

sys.path.insert(0, str(HERE.parent))
from tests.hosts import test_k_sampler as k_host
from tests.hosts import test_scheduler as host
from tests.peers import test_latent_matrix as matrix

KEPT = HERE.parent / "outputs" / "benchmark-latents"
STEPS, SCALE, PICTURES = 20, 2.0, 10
SCHEDULERS = {**matrix.SAMPLERS}
SAMPLES, NFE, SOLVERS = 400, (5, 10, 20), ("ddim", "dpmpp_2m", "unipc")
CALIBRATED = (4, 6)
HELD_OUT = 2000


def cells() -> list[list[Any]]:
    """Kind, sampler, errors from noise, errors from a picture."""
    rows: list[list[Any]] = []
    for kind, sampler in matrix.CELLS:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            row = [kind, sampler, *matrix.from_noise(Path(folder) / "a", kind, sampler)]
            if kind in matrix.FROM_PICTURES:
                row += matrix.from_a_picture(Path(folder) / "b", patch, kind, sampler)
            else:
                row += [None, None]
            rows.append(row)
    return rows


def hosts() -> dict[str, Any]:
    """Largest differences in diffusers' pipelines and in a host like k-diffusion's, by solver."""
    pipes = {"epsilon": host.tiny.sd15(), "v": host.tiny.sd21(), "flow": host.tiny.sd3()}
    for pipe in pipes.values():
        pipe.set_progress_bar_config(disable=True)
    scheduler = {
        name: max(host.gap(pipes[kind], kind, name, n) for kind in host.GRIDS for n in (1, 3))
        for name in host.SOLVERS
    }
    return {
        "diffusers": scheduler,
        "k": {name: max(k_host.gap(name, n) for n in (1, 3)) for name in k_host.SOLVERS},
    }


def both(folder: Path) -> dict[str, Any]:
    """The trained model's digits by diffusers and by us, from the same noise."""
    names, found = list(latents_model.NAMES), {}
    x = sd.Seeds().start(range(PICTURES), (latents_model.LATENTS, 8, 8))
    for sampler, (scheduler, solver) in SCHEDULERS.items():
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(
            folder, safety_checker=None, torch_dtype=torch.float32
        )
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
        given: dict[str, Any] = {
            "prompt": names, "guidance_scale": SCALE, "num_inference_steps": STEPS, "latents": x,
            "height": 32, "width": 32,
        }  # fmt: skip
        expected = pipe(output_type="latent", **given).images
        config = dict(pipe.scheduler.config)
        model = sd.load(folder, scheduler={**config, "_class_name": scheduler})
        drawn = model.sample(
            PICTURES, 2 * STEPS, prompt=names, guidance="cfg", guidance__cfg__scale=SCALE,
            solver=solver, x_T=x, size=32,
        )  # fmt: skip
        pixels = torch.from_numpy(pipe(output_type="np", **given).images)
        theirs = (255 * pixels).round().permute(0, 3, 1, 2).to(torch.uint8)
        found[sampler] = {
            "latents": float((drawn.x - expected).abs().max() / expected.abs().max()),
            "grey": float((drawn.images.float() - theirs.float()).abs().max()),
            "pictures": [theirs[:, 0].tolist(), drawn.images[:, 0].tolist()],
        }
    return found


def judged(folder: Path, grid: str) -> list[dict[str, Any]]:
    """Rows of ``sde-diffusion compare`` on the trained model, against held-out digits; on the grid
    of its files, and on another."""
    images = latents_model.digits("test").images[:HELD_OUT]
    KEPT.mkdir(parents=True, exist_ok=True)
    np.savez(KEPT / "digits.npz", images=images.permute(0, 2, 3, 1).numpy())
    (KEPT / "names.txt").write_text("\n".join(latents_model.NAMES) + "\n")
    words = [
        f"checkpoint={folder}", f"prompts={KEPT / 'names.txt'}", f"solvers=[{','.join(SOLVERS)}]",
        f"nfe=[{','.join(map(str, NFE))}]", f"samples=[{SAMPLES}]",
        "extractor=random-conv", f"reference={KEPT / 'digits.npz'}", "metric=[]", "animation=false",
        *[f"grid={grid}"] * bool(grid),
    ]  # fmt: skip
    done = KEPT / f"compare{grid}"
    compare.run(compose_task(["task=compare", *words]), done)
    return json.loads((done / "results.json").read_text())["rows"]


def fitted(folder: Path) -> list[dict[str, Any]]:
    """Errors of calibrated rules on held-out noises, beside the best standard solver's."""
    model = sd.load(folder)
    made = model.calibrate(
        nfe=list(CALIBRATED), label=None, noises=48, held_out=32, tries=20, nodes=32, budget=10,
        folder=KEPT / "calibrate", progress=False,
    )  # fmt: skip
    return made.errors


def coded(folder: Path) -> dict[str, float]:
    """What the autoencoder alone loses of held-out digits."""
    images = latents_model.digits("test").images
    model, some = sd.load(folder), images[HELD_OUT : HELD_OUT + 500]
    decoded = model.codec.decode(model.codec.encode(to_float(some)))
    error = (decoded.clamp(-1, 1) - to_float(some)).square().mean()
    reference = ImageSet(images[:HELD_OUT], None, 0, "held out")
    row = sd.evaluate(to_uint8(decoded), reference=reference, extractor="random-conv")[-1]
    return {"psnr": float(10 * (4 / error).log10()), "fd": float(row["fd_debiased"])}


def distance(row: dict[str, Any]) -> list[str]:
    """A distance without its bias, and its interval."""
    return [f"{row['fd_debiased']:.3g}", f"{row['fd_low']:.3g} .. {row['fd_high']:.3g}"]


def short(error: float) -> str:
    """Two digits of an error, whole grey levels as such."""
    return f"{error:.0f}" if error == round(error) else f"{error:.1e}"


def main() -> None:
    """Write latents.md and its picture."""
    folder = Path(sys.argv[1]) / "pipeline"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grid, hosted = once(KEPT, "cells", cells), once(KEPT, "hosts", hosts)
        drawn = once(KEPT, "both", lambda: both(folder))
        rows = once(KEPT, "judged", lambda: judged(folder, ""))
        trailing = once(KEPT, "trailing", lambda: judged(folder, "timesteps"))
        rules = fitted(folder)
        codec = once(KEPT, "coded", lambda: coded(folder))
    shown = [list(torch.tensor(x, dtype=torch.uint8)[:, None]) for x in
             (*drawn["ddim"]["pictures"], *drawn["dpm++ 2m"]["pictures"])]  # fmt: skip
    (HERE / "latents.png").write_bytes(png_bytes(image_rows(shown)))
    weights = sum(f.stat().st_size for f in folder.rglob("*.safetensors")) / 2**20
    values = {
        "cells": render.table(
            ["pipeline", "sampler", "latents", "grey levels", "from a picture: latents", "grey"],
            [[k, s, *(None if e is None else short(e) for e in row)]
             for k, s, *row in grid]),
        "worst": max(e for _, _, a, _, b, _ in grid for e in (a, b) if e is not None),
        "grey": max(e for _, _, _, a, _, b in grid for e in (a, b) if e is not None),
        "hosts": render.table(["solver", "in a diffusers pipeline", "in a k-diffusion host"],
            [[n, *(None if n not in hosted[h] else short(hosted[h][n])
                   for h in ("diffusers", "k"))]
             for n in dict.fromkeys([*hosted["diffusers"], *hosted["k"]])]),
        "both": render.table(["sampler", "latents", "grey levels"],
            [[n, f"{c['latents']:.1e}", f"{c['grey']:.0f}"] for n, c in drawn.items()]),
        "compared": render.table(
            ["solver", "NFE", "FD[random-conv], `leading`", "95 %", "`trailing`", "95 %"],
            [[r["solver"], f"{r['nfe']:g}", *distance(r), *distance(other)]
             for r, other in zip(rows, trailing, strict=True)]),
        "samples": SAMPLES,
        "rules": render.table(list(rules[0]), [list(rule.values()) for rule in rules]),
        "codec": codec, "megabytes": weights, "steps": STEPS, "scale": SCALE,
        "training": {"images": latents_model.AUTOENCODER_IMAGES, "steps": latents_model.UNET_STEPS,
                     "batch": latents_model.BATCH},
        "held_out": HELD_OUT, "tiny": matrix.STEPS, "strength": matrix.STRENGTH,
    }  # fmt: skip
    render.page("latents", values, [f"the peer: diffusers {diffusers.__version__}"])


if __name__ == "__main__":
    main()
