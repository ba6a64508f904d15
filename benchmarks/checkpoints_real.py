"""One network of diffusers, trained here and saved as a folder of theirs: drawn by both."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import render
import torch
from torch import Tensor

from sde_diffusion import evaluate, load
from sde_diffusion.errors import InputError
from sde_diffusion.face.model import Model

N, STEPS, FEW, BATCH = 400, 50, (5, 10), 100
# What is fitted to, at 5 evaluations: seeds that nothing is judged by.
FIT: dict[str, Any] = {
    "nfe": [5], "noises": 64, "held_out": 32, "nodes": 24, "tries": 30, "budget": 15,
}  # fmt: skip
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "DDIM": ("DDIMScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "DPM-Solver++": ("DPMSolverMultistepScheduler", {}),
    "DPM-Solver++, Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "UniPC, Karras": ("UniPCMultistepScheduler", {"use_karras_sigmas": True}),
}


def kept(path: Path, draw: Callable[[], Tensor]) -> Tensor:
    """Images uint8 [N, 1, 28, 28]: of an earlier call that was cut short, or drawn."""
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        np.savez(path, images=draw().numpy())
    return torch.from_numpy(np.load(path)["images"])


def of_floats(x: Any) -> Tensor:
    """uint8 [N, 1, H, W] of what a pipeline gives, [N, H, W, 1] in 0 .. 1."""
    return torch.as_tensor(x).mul(255).round().byte().permute(0, 3, 1, 2)


def generator(first: int) -> torch.Generator:
    """What draws the starts of a batch, the same for all."""
    return torch.Generator().manual_seed(1_000 + first)


def start(first: int) -> Tensor:
    """[B, 1, 28, 28]"""
    return torch.randn(BATCH, 1, 28, 28, generator=generator(first))


def by_pipeline(folder: Path) -> Tensor:
    """N images of ``DDPMPipeline``, with DDIM for its scheduler."""
    import diffusers

    pipe = diffusers.DDPMPipeline.from_pretrained(folder)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    drawn = [
        pipe(
            batch_size=BATCH, generator=generator(first),
            num_inference_steps=STEPS, output_type="np",
        ).images
        for first in range(0, N, BATCH)
    ]  # fmt: skip
    return of_floats(np.concatenate(drawn))


@torch.no_grad()
def by_scheduler(folder: Path, name: str, nfe: int) -> Tensor:
    """N images of the network in the loop that diffusers documents, some of whose schedulers
    ``DDPMPipeline`` cannot call."""
    import diffusers

    unet = diffusers.UNet2DModel.from_pretrained(folder, subfolder="unet")
    config = diffusers.DDPMScheduler.from_pretrained(folder, subfolder="scheduler").config
    class_name, fields = SCHEDULERS[name]
    scheduler = getattr(diffusers, class_name).from_config(config, **fields)
    images = []
    for first in range(0, N, BATCH):
        scheduler.set_timesteps(nfe)
        x = start(first) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            shown = scheduler.scale_model_input(x, t)
            x = scheduler.step(unet(shown, t).sample, t, x).prev_sample
        images.append((x / 2 + 0.5).clamp(0, 1))
    return of_floats(torch.cat(images).permute(0, 2, 3, 1))


def ours(model: Model, **given: Any) -> Tensor:
    """N images of ours."""
    parts = [model.sample(BATCH, x_T=start(first), **given) for first in range(0, N, BATCH)]
    return torch.cat([part.images for part in parts])


def judged(images: Tensor) -> dict[str, float]:
    """FD[mnist-cnn] to the shipped reference, without bias, and its 95 % interval."""
    row = evaluate(images, metrics=())[0]
    return {key: float(row[key]) for key in ("fd_debiased", "fd_low", "fd_high")}


def line(who: str, how: str, nfe: int, found: dict[str, float]) -> list[Any]:
    value, low, high = (f"{found[key]:.1f}" for key in ("fd_debiased", "fd_low", "fd_high"))
    return [who, how, nfe, value, f"{low} .. {high}"]


def measured(run: Path) -> dict[str, Any]:
    """The values of the page, of the folder of a run."""
    drawn = run.parent / "drawn"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "theirs"
        trained = load(run)
        trained.save(folder, "diffusers")
        model, rows, few = load(folder), [], []
        pictures = {
            "diffusers": kept(drawn / "pipeline.npz", lambda: by_pipeline(folder)),
            "ours": kept(drawn / "ours.npz", lambda: ours(model, nfe=STEPS, solver="ddim")),
        }
        long = {who: judged(images) for who, images in pictures.items()}
        apart = (pictures["diffusers"].float() - pictures["ours"].float()).abs()
        rows += [line("diffusers", "DDPMPipeline, DDIM", STEPS, long["diffusers"])]
        rows += [line("ours", "the folder, solver=ddim", STEPS, long["ours"])]

        def calibrated() -> Tensor:
            rule = model.calibrate(**FIT, label=None, progress=False)
            return ours(model, nfe=5, solver=rule)

        rule = judged(kept(drawn / "calibrated.npz", calibrated))
        rows += [line("ours", "calibrated to the folder", 5, rule)]
        for nfe in FEW:
            for name in SCHEDULERS:
                path = drawn / f"{name.replace(', ', '-')}-{nfe}.npz"
                found = judged(kept(path, lambda n=name, k=nfe: by_scheduler(folder, n, k)))
                few.append((found["fd_debiased"], nfe, name))
                rows += [line("diffusers", name, nfe, found)]
    best = {str(k): min(row for row in few if row[1] == k) for k in FEW}
    return {
        "real": render.table(["drawn by", "with", "evaluations", "FD", "95 % interval"], rows),
        "drawers": {
            who: f"{v['fd_debiased']:.1f} ({v['fd_low']:.1f} .. {v['fd_high']:.1f})"
            for who, v in long.items()
        },
        "overlap": "overlap" if overlap(*long.values()) else "do not overlap",
        "best": {k: f"{name}, {value:.1f}" for k, (value, _, name) in best.items()},
        "rule": f"{rule['fd_debiased']:.1f}",
        "grey": float(apart.max()), "same": float((apart == 0).float().mean()),
        "trained": trained_as(trained),
        "n": N, "steps": STEPS, "fit": ", ".join(f"{k}={v}" for k, v in FIT.items()),
    }  # fmt: skip


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    return max(a["fd_low"], b["fd_low"]) <= min(a["fd_high"], b["fd_high"])


def trained_as(model: Model) -> dict[str, str]:
    """Steps, weights and recipe of the run."""
    if model.spec is None:
        raise InputError("give the folder of a run")
    spec, weights = model.spec, sum(p.numel() for p in model.denoiser.parameters())
    config = spec.network_args["config"]
    return {
        "steps": str(spec.step), "weights": f"{weights:,}", "fingerprint": model.fingerprint,
        "widths": str(list(config["block_out_channels"])),
    }  # fmt: skip
