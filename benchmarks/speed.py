"""Is sampling as fast as diffusers' pipeline and k-diffusion's loop, on the same UNet2DModel?

diffusers and k-diffusion are needed: the extra [peers], and pip install --no-deps k-diffusion.
``python benchmarks/speed.py eager channels-last`` leaves the compiled network out, and
``python benchmarks/speed.py training`` measures a training step alone: the rest stays as it is.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import render
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from throughput import WARM, Stopwatch, recipe, steps_of, timed
from torch import Tensor

from sde_diffusion import load
from sde_diffusion.config.compose import compose_task, plain
from sde_diffusion.denoisers.arithmetic import channels_last, compiled, networks
from sde_diffusion.face.model import Model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.peers.conftest import k_sampling

NFE = 20
ROUNDS = {1: 9, 16: 3}  # by batch
STEPS = 40  # of training
GOALS = {"eager": 1.0, "channels-last": 1.1, "compiled": 1.25}


def pipeline() -> DDIMPipeline:
    """The network of ``network=diffusers``, untrained, in diffusers' own pipeline."""
    torch.manual_seed(0)
    args = plain(compose_task(["task=train", "network=diffusers"]).network.config)
    net = UNet2DModel(in_channels=1, out_channels=1, **args).eval()
    scheduler = DDIMScheduler(num_train_timesteps=1000, clip_sample=False)
    made = DDIMPipeline(net, scheduler)
    made.set_progress_bar_config(disable=True)
    return made


def variant(model: Model, how: str) -> Callable[[int], Any]:
    """Our ``sample``, its network as the keys channels_last and compile make it."""
    own = copy.deepcopy(model)
    for net in networks(own.denoiser):
        if how == "channels-last":
            channels_last(net)
        if how == "compiled":
            compiled(net, torch.device("cpu"))
    return lambda n: own.sample(n, NFE, solver="ddim")


def k_loop(net: UNet2DModel, scheduler: DDIMScheduler) -> Callable[[int], Tensor]:
    """k-diffusion's Euler steps along the levels of the same timesteps, which are DDIM's."""
    sampling = k_sampling()
    alphas = scheduler.alphas_cumprod
    scheduler.set_timesteps(NFE)
    times = scheduler.timesteps
    sigmas = torch.cat([((1 - alphas[times]) / alphas[times]).sqrt(), torch.zeros(1)])
    number = {float(s): t for s, t in zip(sigmas, times, strict=False)}

    def denoised(x: Tensor, sigma: Tensor) -> Tensor:
        t = number[float(sigma[0])].expand(len(x))
        scaled = x / (1 + sigma[0] ** 2).sqrt()
        return x - sigma[0] * net(scaled, t, return_dict=False)[0]

    @torch.no_grad()
    def loop(n: int) -> Tensor:
        x = torch.randn(n, 1, 28, 28) * sigmas[0]
        drawn = sampling.sample_euler(denoised, x, sigmas, disable=True)
        return ((drawn / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)

    return loop


def measured(contenders: dict[str, Callable[[int], Any]], n: int) -> dict[str, list[float]]:
    """Processor seconds of each round, contenders in turn; who begins changes."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for k in range(-1, ROUNDS[n]):  # the first round is not counted
        for name in names[k % len(names) :] + names[: k % len(names)]:
            began = time.process_time()
            contenders[name](n)
            if k >= 0:
                seconds[name].append(time.process_time() - began)
    return seconds


def training() -> list[float]:
    """Shares of each step of ``train experiment=digits`` outside forward, backward, optimizer."""
    run, kept = recipe("digits"), Tensor.backward
    watch, steps, shares = Stopwatch(run), steps_of(run), []
    try:
        for _ in range(WARM + STEPS):
            watch.seconds = 0.0
            _, cpu = timed(steps)
            shares.append(1 - watch.seconds / cpu)
    finally:
        Tensor.backward = kept  # type: ignore[method-assign]
    return shares[WARM:]


def trained() -> dict[str, Any]:
    """What the page says of a training step."""
    share = statistics.median(training())
    return {
        "outside": 100 * share, "steps": STEPS, "verdict": "met" if share <= 0.03 else "missed",
        "training": render.made(),
    }  # fmt: skip


def main() -> None:
    """Measure and write speed.md."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if sys.argv[1:] == ["training"]:
        content = json.loads((render.RESULTS / "speed.json").read_text())
        content["values"] |= trained()
        return render.keep("speed", content)
    theirs = pipeline()
    goals = {how: goal for how, goal in GOALS.items() if how in (sys.argv[1:] or GOALS)}
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        model = load(folder)
    contenders: dict[str, Callable[[int], Any]] = {
        "diffusers' pipeline": lambda n: theirs(n, num_inference_steps=NFE, output_type="np"),
        "k-diffusion": k_loop(theirs.unet, copy.deepcopy(theirs.scheduler)),
        **{how: variant(model, how) for how in goals},
    }
    rows, met = [], 0
    for n in ROUNDS:
        seconds = measured(contenders, n)
        for how, goal in goals.items():
            ratios = {
                peer: statistics.median(
                    a / b for a, b in zip(seconds[peer], seconds[how], strict=True)
                )
                for peer in list(contenders)[:2]
            }
            worst = min(ratios.values())
            met += worst >= goal
            ms = 1000 * statistics.median(seconds[how]) / n
            rows.append([n, how, ms, *ratios.values(), goal, "yes" if worst >= goal else "no"])
        print(rows, flush=True)
    left = [how for how in GOALS if how not in goals]
    render.page(
        "speed",
        {
            "table": render.table(
                ["batch", "ours", "ms an image", "diffusers / ours", "k-diffusion / ours", "goal",
                 "met"],
                rows,
            ),
            "met": met, "of": len(rows), "nfe": NFE, "rounds": ROUNDS[1], "rounds16": ROUNDS[16],
            "weights": sum(p.numel() for p in theirs.unet.parameters()) / 1e6,
            "diffusers": diffusers.__version__,
            **trained(),
            "left": f" Not measured in this run: {', '.join(left)}." if left else "",
        },
        ["what a step of training costs beside diffusers' loop: [throughput](throughput.md)"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
