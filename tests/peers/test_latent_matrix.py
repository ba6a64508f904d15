"""Each kind of latent pipeline under each sampler, from noise and from a picture, draws as itself.

Five samplers (DDIM, Euler, DPM++ 2M, UniPC, Euler of flows), with guidance and a negative prompt:
latents to 1e-4 of their size, images to one grey level; DiT by labels. Of pictures, those kinds
that have a pipeline for it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.networks.latent import packed, unpacked
from sde_diffusion.solvers.base import Solver

tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
TOLERANCE, SCALE, STEPS, STRENGTH = 1e-4, 4.0, 6, 0.7
PROMPT, NEGATIVE, LABELLED = "a red cube", "blue", [3, 7]
LAST = {"lower_order_final": True}
SAMPLERS: dict[str, tuple[str, Solver]] = {
    "ddim": ("DDIMScheduler", sd.DDIM()),
    "euler": ("EulerDiscreteScheduler", sd.DDIM()),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", sd.DPMpp2M(**LAST)),
    "unipc": ("UniPCMultistepScheduler", sd.UniPC(2, True)),
}
DIFFUSION, FLOWS, LABELS = ("sd15", "sd21", "sdxl", "pixart"), ("sd3", "flux"), ("dit",)
FROM_PICTURES = {
    "sd15": "StableDiffusionImg2ImgPipeline", "sd21": "StableDiffusionImg2ImgPipeline",
    "sdxl": "StableDiffusionXLImg2ImgPipeline", "sd3": "StableDiffusion3Img2ImgPipeline",
    "flux": "FluxImg2ImgPipeline",
}  # fmt: skip
CELLS = [(kind, name) for kind in DIFFUSION for name in SAMPLERS]
CELLS += [(kind, "flow euler") for kind in FLOWS]
# Its pipeline begins at noise of variance 1 under every scheduler: Euler's levels are not of that.
CELLS += [(kind, name) for kind in LABELS for name in SAMPLERS if name != "euler"]
QUICK = [("sd15", "dpm++ 2m"), ("sd3", "flow euler")]


def cells(kinds: Any) -> list[Any]:
    """Those of the kinds, all but two among the slow tests."""
    return [
        cell if cell in QUICK else pytest.param(*cell, marks=pytest.mark.slow)
        for cell in CELLS
        if cell[0] in kinds
    ]


def pipeline(kind: str, sampler: str) -> tuple[Any, Solver]:
    """The tiny pipeline with that scheduler, and our solver."""
    pipe = tiny.KINDS[kind]()
    pipe.set_progress_bar_config(disable=True)
    if sampler == "flow euler":
        return pipe, sd.DDIM()
    name, solver = SAMPLERS[sampler]
    # The peer's DDIM steps from t to t - T / N wherever the next of its numbers lies, which is the
    # next of them for this spacing alone.
    more = {"clip_sample": False, "timestep_spacing": "leading"} if sampler == "ddim" else {}
    config = {**pipe.scheduler.config, **more}
    pipe.scheduler = getattr(tiny.diffusers, name).from_config(config)
    return pipe, solver


def words(kind: str, n: int) -> dict[str, Any]:
    """What the pipeline is asked."""
    asked: dict[str, Any] = {
        "prompt": [PROMPT] * n, "negative_prompt": [NEGATIVE] * n, "guidance_scale": SCALE,
        "num_inference_steps": STEPS, "output_type": "latent",
    }  # fmt: skip
    if kind == "flux":  # distilled with its guidance: it hears no negative prompt
        del asked["negative_prompt"]
    if kind == "pixart":
        asked |= {"use_resolution_binning": False, "clean_caption": False}
    return asked


def asked(kind: str) -> dict[str, Any]:
    """The same of us."""
    if kind == "flux":
        return {"prompt": PROMPT, "embedded_guidance": SCALE}
    guided = {"guidance": "cfg", "guidance__cfg__scale": SCALE}
    if kind in LABELS:
        return {"label": LABELLED, **guided}
    return {"prompt": PROMPT, "negative": NEGATIVE, **guided}


def calls(kind: str, steps: int) -> int:
    return steps if kind == "flux" else 2 * steps


@torch.no_grad()
def errors(pipe: Any, model: sd.Model, drawn: Tensor, expected: Tensor) -> tuple[float, float]:
    """Of latents, largest over largest, and of what either decodes of its own, in grey levels."""
    config = pipe.vae.config
    z = expected / config.scaling_factor + (config.shift_factor or 0.0)
    pixels = pipe.vae.decode(z, return_dict=False)[0]
    theirs = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round()
    grey = float((to_uint8(model.codec.decode(drawn)).float() - theirs).abs().max())
    return float((drawn - expected).abs().max() / expected.abs().max()), grey


def of_words(pipe: Any, kind: str, x: Tensor) -> Tensor:
    """Latents of the pipeline from the noise x."""
    given = {"height": 16, "width": 16, **words(kind, 2)}
    found = pipe(latents=packed(x) if kind == "flux" else x, **given).images
    return unpacked(found, 4, 4) if kind == "flux" else found


def of_labels(pipe: Any, x: Tensor) -> Tensor:
    """The same of DiT's, which draws its own noise and hands out pictures alone."""
    decoded: list[Tensor] = []
    decode = pipe.vae.decode

    def noted(z: Tensor) -> Any:
        decoded.append(z)
        return decode(z)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{type(pipe).__module__}.randn_tensor", lambda *args, **given: x)
        patch.setattr(pipe.vae, "decode", noted)
        pipe(LABELLED, guidance_scale=SCALE, num_inference_steps=STEPS, output_type="np")
    return decoded[0] * pipe.vae.config.scaling_factor


def from_noise(folder: Path, kind: str, sampler: str) -> tuple[float, float]:
    """Errors of what is drawn from the same noise."""
    pipe, solver = pipeline(kind, sampler)
    pipe.save_pretrained(folder)
    x = sd.Seeds().start([3, 4], (4, 8, 8))
    expected = of_labels(pipe, x) if kind in LABELS else of_words(pipe, kind, x)
    model = sd.load(folder)
    drawn = model.sample(2, calls(kind, STEPS), solver=solver, x_T=x, size=16, **asked(kind))
    return errors(pipe, model, drawn.x, expected)


@pytest.mark.parametrize(("kind", "sampler"), cells(DIFFUSION + FLOWS + LABELS))
def test_from_noise(tmp_path: Path, kind: str, sampler: str) -> None:
    latents, grey = from_noise(tmp_path, kind, sampler)
    assert latents < TOLERANCE
    assert grey <= 1


def levels(pipe: Any, kind: str) -> list[float]:
    """Noise levels of the pipeline's last walk, from that which the strength begins at, to its end:
    0, or the least of its table where its scheduler says so."""
    scheduler = pipe.scheduler
    first = STEPS - int(STEPS * STRENGTH) if kind in DIFFUSION else int(STEPS * (1 - STRENGTH))
    if isinstance(scheduler, tiny.diffusers.DDIMScheduler):
        alpha_bar = scheduler.alphas_cumprod[scheduler.timesteps].double()
        found = ((1 - alpha_bar) / alpha_bar).sqrt().tolist()
        if not scheduler.config.set_alpha_to_one:
            least = scheduler.alphas_cumprod[0].double()
            return [*found[first:], float(((1 - least) / least).sqrt())]
    else:
        t = scheduler.sigmas[:STEPS].double()
        found = (t / (1 - t) if kind in FLOWS else t).tolist()
    return [*found[first:], 0.0]


def from_a_picture(
    folder: Path, patch: pytest.MonkeyPatch, kind: str, sampler: str
) -> tuple[float, float]:
    """Errors where both begin at the latents of a picture with the same noise, at the pipeline's
    own level."""
    text, solver = pipeline(kind, sampler)
    text.save_pretrained(folder)
    pipe = getattr(tiny.diffusers, FROM_PICTURES[kind])(**text.components)
    pipe.set_progress_bar_config(disable=True)
    model = sd.load(folder)
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x_0, n = model.codec.encode(pictures), sd.Seeds().start([3, 4], (4, 8, 8))
    module = type(pipe).__module__
    patch.setattr(f"{module}.randn_tensor", lambda *args, **given: n)
    given = {"strength": STRENGTH, **words(kind, 2)}
    if kind == "flux":  # it takes no latents: its encoder's answer is made the mode
        patch.setattr(f"{module}.retrieve_latents", lambda made, **given: made.latent_dist.mode())
        given |= {"height": 16, "width": 16, "image": pictures / 2 + 0.5}
        expected = unpacked(pipe(**given).images, 4, 4)
    else:
        expected = pipe(image=x_0, **given).images
    walk = levels(pipe, kind)
    drawn = model.sample(
        nfe=calls(kind, len(walk) - 1), seeds=[3, 4], solver=solver, grid=walk, size=16,
        start=sd.FromImage(x_0, level=walk[0]), **asked(kind),
    ).x  # fmt: skip
    assert float((drawn - x_0).abs().max()) > 1e-2
    # The peer's states are of variance 1, also where its walk ends above 0.
    return errors(pipe, model, drawn / math.hypot(1, walk[-1]), expected)


@pytest.mark.parametrize(("kind", "sampler"), cells(FROM_PICTURES))
def test_from_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, sampler: str
) -> None:
    latents, grey = from_a_picture(tmp_path, monkeypatch, kind, sampler)
    assert latents < TOLERANCE
    assert grey <= 1
