"""What people do with a pipeline, once with its own scheduler and once with ours: the same latents.

Lists of levels, a picture to begin with, a mask, an ensemble of two pipelines, solvers in turn.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.errors import InputError
from sde_diffusion.hosts.scheduler import SolverScheduler
from sde_diffusion.networks.latent import packed
from sde_diffusion.process.timesteps import FlowShift
from sde_diffusion.solvers.base import Solver
from sde_diffusion.system.notice import new_job

tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
X = sd.Seeds().start([1], (4, 8, 8))
LAST = {"lower_order_final": True}
SAMPLERS: dict[str, tuple[str, Solver]] = {
    "ddim": ("DDIMScheduler", sd.DDIM()),
    "euler": ("EulerDiscreteScheduler", sd.DDIM()),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", sd.DPMpp2M(**LAST)),
}


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module", name="pipe")
def pipe_fixture() -> Any:
    return quiet(tiny.sd15())


def picture() -> Tensor:
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def latents(pipe: Any, **asked: Any) -> Tensor:
    return pipe("a red cube", height=16, width=16, output_type="latent", latents=X, **asked).images


def of_list(**levels: list[float]) -> Callable[[Any], Tensor]:
    return lambda pipe: latents(pipe, **levels)


def from_picture(pipe: Any) -> Tensor:
    edit = quiet(tiny.diffusers.StableDiffusionImg2ImgPipeline(**pipe.components))
    return edit(
        "a", image=picture(), strength=0.5, num_inference_steps=10, output_type="latent",
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip


def inpainted(pipe: Any) -> Tensor:
    """The known half is put back, with noise of the next level, after every step."""
    edit = quiet(tiny.diffusers.StableDiffusionInpaintPipeline(**pipe.components))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    return edit(
        "a", image=picture(), mask_image=mask, height=16, width=16, num_inference_steps=8,
        output_type="latent", generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip


TIMESTEPS = [999.0, 800.0, 500.0, 200.0, 50.0]
USES: dict[str, tuple[str, Callable[[Any], Tensor]]] = {
    "timesteps": ("dpm++ 2m", of_list(timesteps=TIMESTEPS)),
    "sigmas": ("euler", of_list(sigmas=[14.0, 5.0, 1.0, 0.1, 0.0])),
    "picture": ("ddim", from_picture),
    "mask": ("ddim", inpainted),
}


def apart(pipe: Any, own: Any, solver: Solver, use: Callable[[Any], Tensor]) -> float:
    """Of the latents under our scheduler, from those under ``own``."""
    drawn = []
    for scheduler in (own, SolverScheduler(solver, None, own)):
        pipe.scheduler = scheduler
        drawn.append(use(pipe))
    return float((drawn[1] - drawn[0]).abs().max() / drawn[0].abs().max())


@pytest.mark.parametrize("name", USES)
def test_a_use_has_the_latents_of_the_models_own_scheduler(pipe: Any, name: str) -> None:
    sampler, use = USES[name]
    peer, solver = SAMPLERS[sampler]
    own = getattr(tiny.diffusers, peer).from_config(tiny.scheduler().config)
    assert apart(pipe, own, solver, use) < 1e-4


def test_two_pipelines_share_a_walk() -> None:
    """SDXL and its refiner: the last fifth of the steps are the second's."""

    def ensemble(pipe: Any) -> Tensor:
        half = latents(pipe, num_inference_steps=10, denoising_end=0.8)
        refiner = quiet(tiny.diffusers.StableDiffusionXLImg2ImgPipeline(**pipe.components))
        return refiner(
            "a", image=half, num_inference_steps=10, denoising_start=0.8, output_type="latent"
        ).images  # fmt: skip

    pipe = quiet(tiny.sdxl())
    assert apart(pipe, pipe.scheduler, sd.DDIM(), ensemble) < 1e-4


@pytest.mark.parametrize("sigmas", [None, [1.0, 0.5, 0.2]])
def test_a_flow_goes_through_the_values_that_it_is_given(sigmas: list[float] | None) -> None:
    """Flux hands its own on where the user has none: so many evaluations, of any solver."""

    def asked(pipe: Any) -> Tensor:
        return pipe(
            "a", height=16, width=16, output_type="latent", latents=packed(X), sigmas=sigmas,
            num_inference_steps=4,
        ).images  # fmt: skip

    pipe = quiet(tiny.flux())
    own = pipe.scheduler
    assert apart(pipe, own, sd.DDIM(), asked) < 1e-4
    scheduler = SolverScheduler(sd.Heun(), None, own)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0.1, 10).tolist(), mu=0.5)
    assert scheduler.num_inference_steps == 10
    scheduler.set_timesteps(sigmas=[1.0, 0.5, 0.2])
    assert scheduler.num_inference_steps == 4  # the noise, a step of two, the last


def test_one_solver_after_the_other_and_the_models_own_again(pipe: Any, tmp_path: Path) -> None:
    own = pipe.scheduler = tiny.scheduler()
    for solver in (sd.UniPC(3), sd.Heun(), sd.DPMpp2M()):
        pipe.scheduler = SolverScheduler(solver, None, pipe.scheduler)
    once = latents(pipe, num_inference_steps=4)
    pipe.scheduler = SolverScheduler(sd.DPMpp2M(), None, own)
    assert torch.equal(latents(pipe, num_inference_steps=4), once)
    pipe.scheduler = copy.deepcopy(pipe.scheduler)
    assert torch.equal(latents(pipe, num_inference_steps=4), once)
    pipe.scheduler = pipe.scheduler.own
    pipe.save_pretrained(tmp_path)
    assert sd.load(tmp_path).denoiser.sigma_max == pytest.approx(14.61, abs=0.01)


def test_a_generator_a_row_is_a_picture_a_generator(pipe: Any) -> None:
    pipe.scheduler = SolverScheduler(sd.Ancestral(), None, tiny.scheduler())

    def drawn(*seeds: int) -> Tensor:
        rows = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipe(
            ["a red cube"] * len(seeds), height=16, width=16, output_type="latent",
            num_inference_steps=4, generator=rows,
        ).images  # fmt: skip

    alone = drawn(4)[0]  # products of two rows round otherwise than those of one
    assert (drawn(3, 4)[1] - alone).abs().max() < 1e-5 * alone.abs().max()


def test_the_config_is_the_models_own() -> None:
    """So that another scheduler is made of it: nothing that ours does not walk by is changed."""
    own = tiny.diffusers.DDIMScheduler(steps_offset=0, beta_schedule="scaled_linear")
    config = SolverScheduler(sd.UniPC(3), None, own).config
    again = tiny.diffusers.EulerDiscreteScheduler.from_config(config).config
    assert (again.steps_offset, again.beta_schedule) == (0, "scaled_linear")


@pytest.mark.parametrize(
    ("solver", "name"), [("consistency", "LCMScheduler"), ("tcd", "TCDScheduler")]
)
def test_a_distilled_model_takes_its_own_solver_alone(pipe: Any, solver: str, name: str) -> None:
    """Its latents are those of its scheduler, from draws of the same generator."""
    own = getattr(tiny.diffusers, name)()

    def use(pipe: Any) -> Tensor:
        told = {"eta": 0.0} if solver == "tcd" else {}
        return latents(
            pipe, num_inference_steps=3, guidance_scale=1.0,
            generator=torch.Generator().manual_seed(0), **told,
        )  # fmt: skip

    made = sd.TCD(0.0) if solver == "tcd" else sd.Consistency()
    assert apart(pipe, own, made, use) < 1e-4
    with pytest.raises(InputError, match=f"no denoiser.*solver={solver}"):
        SolverScheduler(sd.UniPC(3), None, own)


def listed(**levels: Any) -> Callable[[], Any]:
    return lambda: SolverScheduler(sd.DDIM(), None, tiny.scheduler()).set_timesteps(**levels)


def begun() -> None:
    scheduler = SolverScheduler(sd.DDIM(), None, tiny.scheduler())
    scheduler.set_timesteps(10)
    scheduler.set_begin_index(10)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "one number": (listed(timesteps=[999]), "timesteps=.999.: give two or more"),
    "rising": (listed(sigmas=[1.0, 2.0]), "sigmas=.*each below the one before"),
    "words": (listed(timesteps=["a", "b"]), "give a list of numbers"),
    "beyond": (listed(timesteps=[1500, 3]), "the model's are 0 .. 999"),
    "both": (listed(timesteps=[9, 3], sigmas=[2.0, 1.0]), "leave one of the two out"),
    "beside a grid": (
        lambda: SolverScheduler("DPM++ 2M Karras", model=tiny.scheduler()).set_timesteps(
            sigmas=[9.0, 1.0]
        ),
        r"sigmas: are given.*SolverScheduler\(solver, None, model\)",
    ),
    "no time of a flow": (
        lambda: SolverScheduler(sd.DDIM(), None, tiny.sd3().scheduler).set_timesteps(
            sigmas=[9.0, 1.0]
        ),
        "those of a flow are t in 0 .. 1",
    ),
    "numbers of none": (
        lambda: SolverScheduler(
            sd.Consistency(), None, tiny.diffusers.CMStochasticIterativeScheduler()
        ).set_timesteps(timesteps=[30, 2]),
        "knows no levels by number",
    ),
    "a little strength": (begun, "strength: leaves none of 10 evaluations"),
    "guidance inside": (
        lambda: SolverScheduler(sd.CFGpp(sd.DDIM()), None, tiny.scheduler()),
        "guides by itself",
    ),
    "guidance in a loop": (lambda: sd.KSampler(sd.CFGpp(sd.DDIM())), "guides by itself"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_a_pipeline_cannot_be_asked_is_one_line(name: str) -> None:
    wrong, words = WRONG[name]
    with pytest.raises(InputError, match=words) as refusal:
        wrong()
    assert "\n" not in str(refusal.value)


def test_what_a_scheduler_clips_and_ours_does_not_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    new_job()
    SolverScheduler(sd.DDIM(), None, tiny.diffusers.DDIMScheduler(clip_sample=True))
    assert "clip_sample of the model's scheduler: not done here" in capsys.readouterr().err


def test_a_grid_that_was_chosen_goes_before_what_a_flow_hands_on() -> None:
    scheduler = SolverScheduler(sd.DDIM(), FlowShift(3.0), tiny.flux().scheduler)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0.25, 4).tolist(), mu=0.5)
    assert torch.allclose(scheduler.sigmas, FlowShift(3.0).levels(4), equal_nan=True, rtol=1e-6)


def test_a_shift_of_the_size_is_the_schedulers() -> None:
    """Its least t was shifted twice, where the pipeline hands on mu and no sigmas."""
    pipe = quiet(tiny.sd3())
    cls = tiny.diffusers.FlowMatchEulerDiscreteScheduler
    pipe.scheduler = cls(use_dynamic_shifting=True)
    expected = latents(pipe, num_inference_steps=5)
    pipe.scheduler = SolverScheduler(sd.DDIM(), None, pipe.scheduler)
    found = latents(pipe, num_inference_steps=5)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "5"])
def test_a_number_of_steps_that_is_none_is_one_line(count: Any) -> None:
    """0 was taken for the usual 20."""
    scheduler = SolverScheduler(sd.DDIM(), None, tiny.scheduler())
    with pytest.raises(InputError, match=r"num_inference_steps=.*: give a whole number >= 1"):
        scheduler.set_timesteps(count)


def test_what_says_nothing_of_a_network_is_told_what_would() -> None:
    with pytest.raises(InputError, match="config without its _class_name"):
        SolverScheduler(sd.DDIM(), None, dict(tiny.scheduler().config))
    with pytest.raises(InputError, match="_class_name=UNet2DConditionModel is not read"):
        SolverScheduler(sd.DDIM(), None, tiny.unet(16))
