"""A latent pipeline of diffusers, opened here, draws as the pipeline itself from the same latents.

Tiny random pipelines of each kind, with prompt, negative prompt and guidance: latents to 1e-4 of
their size, images to one grey level.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.errors import InputError
from sde_diffusion.networks.latent import packed, unpacked
from sde_diffusion.solvers.base import Solver
from tests.conftest import Run
from tests.peers.spoiling import edited, spoiled

tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
TOLERANCE = 1e-4
SCALE = 4.0
WORDS = {"prompt": "a red cube", "negative_prompt": "blue"}


@dataclass(frozen=True)
class Case:
    """A kind of pipeline, a scheduler in place of its own, and our solver."""

    kind: str
    solver: Solver
    scheduler: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    nfe: int = 5
    size: tuple[int, int] = (16, 16)


LAST = {"lower_order_final": True}
DPM = "DPMSolverMultistepScheduler"
CASES = {
    "sd15 ddim": Case("sd15", sd.DDIM()),
    "sd15 euler": Case("sd15", sd.DDIM(), "EulerDiscreteScheduler"),
    "sd15 euler karras": Case(
        "sd15", sd.DDIM(), "EulerDiscreteScheduler", {"use_karras_sigmas": True}
    ),
    "sd15 dpm++ 2m": Case("sd15", sd.DPMpp2M(**LAST), "DPMSolverMultistepScheduler"),
    "sd15 dpm++ 2m karras": Case(
        "sd15", sd.DPMpp2M(**LAST), "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}
    ),
    "sd15 unipc": Case("sd15", sd.UniPC(2, True), "UniPCMultistepScheduler"),
    "sd15 wide": Case("sd15", sd.DDIM(), size=(16, 24)),
    "sd21 ddim": Case("sd21", sd.DDIM()),
    "sd21 dpm++ 2m": Case("sd21", sd.DPMpp2M(**LAST), "DPMSolverMultistepScheduler"),
    "sdxl euler": Case("sdxl", sd.DDIM()),
    "sdxl unipc": Case("sdxl", sd.UniPC(2, True), "UniPCMultistepScheduler"),
    "sd3 flow euler": Case("sd3", sd.DDIM()),
    "sd3 shift of the size": Case(
        "sd3", sd.DDIM(), "FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}
    ),
    "flux flow euler": Case("flux", sd.DDIM()),
    "flux wide": Case("flux", sd.DDIM(), size=(16, 24)),
    "pixart dpm++ 2m": Case("pixart", sd.DPMpp2M(**LAST)),
}
QUICK = ("sd15 ddim", "sd15 dpm++ 2m", "sd21 ddim", "sdxl euler", "sd3 flow euler",
         "sd3 shift of the size", "flux wide", "pixart dpm++ 2m")  # fmt: skip


def with_numbers_between(pipe: Any) -> None:
    """DPM-Solver++ rounds the numbers that stand for Karras' levels: here it tells the network
    those of its levels."""
    scheduler = pipe.scheduler
    own = scheduler.set_timesteps

    def set_timesteps(*args: Any, **given: Any) -> None:
        own(*args, **given)
        levels = scheduler.sigmas[:-1].numpy()
        table = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt().log().numpy()
        numbers = [float(scheduler._sigma_to_t(level, table)) for level in levels]
        scheduler.timesteps = torch.tensor(numbers)

    scheduler.set_timesteps = set_timesteps


def made(case: Case) -> Any:
    pipe = tiny.KINDS[case.kind]()
    pipe.set_progress_bar_config(disable=True)
    if case.scheduler:
        cls = getattr(tiny.diffusers, case.scheduler)
        pipe.scheduler = cls.from_config(pipe.scheduler.config, **case.fields)
    return pipe


def theirs(pipe: Any, case: Case, x: Tensor) -> Tensor:
    """Latents of the pipeline from the latents x."""
    height, width = case.size
    given: dict[str, Any] = {
        "num_inference_steps": case.nfe, "guidance_scale": SCALE, "output_type": "latent",
        "height": height, "width": width, **{k: [v] * len(x) for k, v in WORDS.items()},
    }  # fmt: skip
    if case.kind == "pixart":
        given |= {"use_resolution_binning": False, "clean_caption": False}
    if case.kind != "flux":
        return pipe(latents=x, **given).images
    del given["negative_prompt"]
    return unpacked(pipe(latents=packed(x), **given).images, height // 4, width // 4)


def ours(model: sd.Model, case: Case, x: Tensor, **more: Any) -> sd.Samples:
    given = {"guidance": "cfg", "guidance__cfg__scale": SCALE, "negative": "blue"}
    if case.kind == "flux":
        given = {"embedded_guidance": SCALE}
    nfe = case.nfe * (1 if case.kind == "flux" else 2)
    words = {"prompt": WORDS["prompt"], "size": case.size, **given, **more}
    return model.sample(len(x), nfe, solver=case.solver, x_T=x, **words)


def noise(case: Case) -> Tensor:
    return sd.Seeds().start([3, 4], (4, case.size[0] // 2, case.size[1] // 2))


def drawn_twice(tmp_path: Path, name: str) -> tuple[Any, Tensor, sd.Samples]:
    """A pipeline, its latents, and our samples of its folder from the same start."""
    case = CASES[name]
    pipe = made(case)
    pipe.save_pretrained(tmp_path)
    if case.scheduler == DPM and "use_karras_sigmas" in case.fields:
        with_numbers_between(pipe)
    x = noise(case)
    return pipe, theirs(pipe, case, x), ours(sd.load(tmp_path), case, x)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_a_pipeline_opened_here_draws_as_itself(tmp_path: Path, name: str) -> None:
    pipe, expected, drawn = drawn_twice(tmp_path, name)
    assert float((drawn.x - expected).abs().max() / expected.abs().max()) < TOLERANCE
    config = pipe.vae.config
    with torch.no_grad():
        z = expected / config.scaling_factor + (config.shift_factor or 0.0)
        pixels = pipe.vae.decode(z, return_dict=False)[0]
    grey = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round()
    assert float((drawn.images.float() - grey).abs().max()) <= 1


@pytest.mark.slow
def test_exception_karras_levels_are_told_by_whole_numbers(tmp_path: Path) -> None:
    """DPM-Solver++ of diffusers asks at a level beside the one that it steps from: 2.0e-4."""
    case = CASES["sd15 dpm++ 2m karras"]
    pipe, x = made(case), noise(case)
    pipe.save_pretrained(tmp_path)
    expected, drawn = theirs(pipe, case, x), ours(sd.load(tmp_path), case, x)
    gap = float((drawn.x - expected).abs().max() / expected.abs().max())
    assert gap == pytest.approx(2.0e-4, rel=0.2)


def test_dit_draws_as_its_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = made(Case("dit", sd.DDIM()))
    pipe.save_pretrained(tmp_path)
    edited("model_index.json", id2label={k: f"thing {k}" for k in range(1000)})(tmp_path)
    x = sd.Seeds().start([3, 4], (4, 8, 8))
    module = "diffusers.pipelines.dit.pipeline_dit.randn_tensor"
    monkeypatch.setattr(module, lambda *args, **given: x)
    pictures = pipe([3, 7], guidance_scale=SCALE, num_inference_steps=5, output_type="np").images
    drawn = sd.load(tmp_path).sample(
        2, 10, label=["thing 3", 7], guidance="cfg", guidance__cfg__scale=SCALE, solver=sd.DDIM(),
        x_T=x,
    )  # fmt: skip
    grey = torch.from_numpy(pictures * 255).round().permute(0, 3, 1, 2)
    assert float((drawn.images.float() - grey).abs().max()) <= 1


@pytest.fixture(scope="module", name="folder")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small Stable Diffusion."""
    path = tmp_path_factory.mktemp("sd15")
    made(CASES["sd15 ddim"]).save_pretrained(path)
    return path


def test_words_reach_the_picture(folder: Path) -> None:
    """Another prompt, another negative and none, another scale: each another picture."""
    model, case = sd.load(folder), CASES["sd15 ddim"]
    x = noise(case)
    one = ours(model, case, x).x
    for more in (
        {"prompt": "a blue ball"},
        {"prompt": ["a red cube", "a ball"]},
        {"negative": "green"},
        {"negative": None},
        {"guidance__cfg__scale": 2.0},
    ):
        assert float((ours(model, case, x, **more).x - one).abs().max()) > 1e-3
    assert torch.equal(ours(model, case, x, negative=None).x, ours(model, case, x, negative="").x)


def test_a_picture_does_not_depend_on_its_batch(folder: Path) -> None:
    model = sd.load(folder)
    many = model.sample(seeds=[3, 4, 5], nfe=4, prompt=["a", "b", "c"], size=16)
    alone = model.sample(seeds=[4], nfe=4, prompt="b", size=16)
    assert torch.allclose(many.x[1], alone.x[0], atol=1e-5)


def test_the_codec_is_the_autoencoder(folder: Path) -> None:
    """Pictures go to the mode of the posterior, scaled, and latents back."""
    model, pipe = sd.load(folder), made(CASES["sd15 ddim"])
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        latents = pipe.vae.encode(pictures).latent_dist.mode() * 0.18215
    assert torch.allclose(model.codec.encode(pictures), latents, atol=1e-6)


@torch.no_grad()
def test_pictures_are_mixed_in_latents(tmp_path: Path, quick_cli: Run) -> None:
    """The ends are what the autoencoder keeps; of a network of zeros the flow stands still."""
    pipe = made(CASES["sd15 ddim"])
    for weights in pipe.unet.conv_out.parameters():
        weights.zero_()
    pipe.save_pretrained(tmp_path / "still")
    rows = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "two.npz", images=rows)
    quick_cli(
        "interpolate", "checkpoint=still", "images=two.npz", "pairs=1", "steps=3",
        "hydra.run.dir=mixed",
    )  # fmt: skip
    mixed = np.load(tmp_path / "mixed" / "interpolation.npz")["images"]
    assert mixed.shape == (1, 3, 16, 16, 3)
    codec = sd.load(tmp_path / "still").codec
    kept = codec.decode(codec.encode(torch.from_numpy(rows).permute(0, 3, 1, 2) / 127.5 - 1))
    grey = ((kept.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(mixed[0, [0, -1]] - grey).max() <= 1


@pytest.mark.parametrize("variant", ["", "fp16"])
def test_a_pipeline_in_shards_is_the_whole_one(tmp_path: Path, variant: str) -> None:
    """Of all weights, or of those of a variant alone, as large models are handed out."""
    pipe = made(CASES["sd15 ddim"])
    pipe.save_pretrained(tmp_path / "whole")
    words = {"variant": variant} if variant else {}
    pipe.save_pretrained(tmp_path / "shards", max_shard_size="20KB", **words)
    assert len(list((tmp_path / "shards" / "unet").glob("*of-*.safetensors"))) > 1
    asked = {"seeds": [1], "nfe": 3, "prompt": "a", "size": 16}
    whole, shards = (sd.load(tmp_path / each).sample(**asked) for each in ("whole", "shards"))
    assert torch.equal(whole.x, shards.x)


STATED: dict[str, tuple[str, dict[str, Any]]] = {
    "sd15 shift": ("sd15", {"shift_factor": 0.5}),
    "sd15 mean": ("sd15", {"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1, 2, 3, 4]}),
    "sdxl mean alone": ("sdxl", {"latents_mean": [0.1, 0.2, 0.3, 0.4]}),
    "sdxl shift": ("sdxl", {"shift_factor": 0.5}),
    "sd3 deviation": ("sd3", {"latents_std": [1, 2, 3, 4]}),
}


@torch.no_grad()
@pytest.mark.parametrize("name", STATED)
def test_what_a_pipeline_does_not_undo_is_named_and_not_undone(tmp_path: Path, name: str) -> None:
    """An entry of the autoencoder that its pipeline passes over changed the pictures here."""
    kind, entries = STATED[name]
    tiny.KINDS[kind]().save_pretrained(tmp_path)
    z = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    before = sd.load(tmp_path).codec.decode(z)
    edited("vae/config.json", **entries)(tmp_path)
    model = sd.load(tmp_path)
    assert torch.equal(model.codec.decode(z), before)
    left = {finding.key for finding in model.findings if not finding.honoured}
    assert set(entries) <= left


def test_means_of_latents_are_one_a_channel(tmp_path: Path) -> None:
    tiny.sdxl().save_pretrained(tmp_path)
    three = {"latents_mean": [0.1, 0.2, 0.3], "latents_std": [1, 2, 3]}
    edited("vae/config.json", **three)(tmp_path)
    with pytest.raises(InputError, match=r"latents_mean=.*: write 4 numbers"):
        sd.load(tmp_path)


PASSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an argument of the network": ("unet", {"newer": 3}, "unet.newer"),
    "an argument of the autoencoder": ("vae", {"newer": [1]}, "vae.newer"),
    "layers of the text": ("text_encoder", {"num_hidden_layers": 2}, "text_encoder.layers"),
    "nothing": ("unet", {"newer": None}, ""),
}


@pytest.mark.parametrize("name", PASSED)
def test_what_a_library_passes_over_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    """diffusers says so in its log, which nobody sees here."""
    part, entries, key = PASSED[name]
    path = spoiled(folder, tmp_path / "spoiled", edited(f"{part}/config.json", **entries))
    left = [finding.key for finding in sd.load(path).findings if not finding.honoured]
    assert left == [key] * bool(key)
