"""Our solvers inside unmodified diffusers pipelines draw what our own ``sample`` draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.denoisers.convention import DiscreteTime, StraightPath
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.hosts.scheduler import SolverScheduler
from sde_diffusion.process.timesteps import ByTimestep, FlowShift
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.solvers.calibrated.solver import Calibrated

tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
TOLERANCE = 1e-4
SCALE = 3.0
STABLE = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
CALLS = 8
SOLVERS: dict[str, Solver] = {
    "ddim": sd.DDIM(),
    "unipc": sd.UniPC(3),
    "dpmpp_2m": sd.DPMpp2M(),
    "dpmpp_3m": sd.DPMpp3M(),
    "deis": sd.DEIS(),
    "heun": sd.Heun(),
    "dpm2": sd.DPM2(),
    "dpmpp_2s": sd.DPMpp2S(),
    "ipndm": sd.IPNDM(),
    "lms": sd.LMS(),
    "ancestral": sd.Ancestral(),
    "dpmpp_2m_sde": sd.DPMpp2MSDE(),
    "seeds": sd.SEEDS(),
    "sa_solver": sd.SASolver(),
    "restart": sd.Restart(sd.Heun(), low=[0.8], high=[2.0], steps=[1], repeats=[1]),
}


@pytest.fixture(scope="module", name="pipes")
def pipes_fixture() -> dict[str, Any]:
    """A pipeline of each prediction: epsilon, v and flow."""
    made = {"epsilon": tiny.sd15(), "v": tiny.sd21(), "flow": tiny.sd3()}
    for pipe in made.values():
        pipe.set_progress_bar_config(disable=True)
    return made


def own(pipe: Any, kind: str, words: dict[str, Any]) -> sd.Model:
    """The same network and guidance as a callable, told levels in place of timesteps."""
    if kind == "flow":
        given, empty, pooled, away = pipe.encode_prompt(
            words["prompt"], None, None, negative_prompt=words["negative_prompt"],
            do_classifier_free_guidance=True, max_sequence_length=tiny.T5_LENGTH,
        )  # fmt: skip
        p: Any = StraightPath()
    else:
        given, empty = pipe.encode_prompt(
            words["prompt"], "cpu", 1, True, negative_prompt=words["negative_prompt"]
        )
        p = DiscreteTime({"epsilon": "epsilon", "v": "v"}[kind], **STABLE)

    @torch.no_grad()
    def predict(x: Tensor, sigma: Tensor) -> Tensor:
        at = p.scalars(float(sigma[0]))
        t = torch.full((len(x),), at.c_noise)
        rows, latents = len(x), at.c_in * x

        def ask(text: Tensor, pool: Tensor | None) -> Tensor:
            each = text.expand(rows, -1, -1)
            if kind == "flow":
                pair = {"encoder_hidden_states": each, "pooled_projections": pool.expand(rows, -1)}
                return pipe.transformer(latents, timestep=t, return_dict=False, **pair)[0]
            return pipe.unet(latents, t, each, return_dict=False)[0]

        one, other = (
            (ask(given, pooled), ask(empty, away))
            if kind == "flow"
            else (ask(given, None), ask(empty, None))
        )
        return at.c_skip * x + at.c_out * (other + SCALE * (one - other))

    class Whole(FunctionDenoiser):
        """Asked at infinity too."""

    denoiser = Whole(predict, (4, 8, 8), 1e-6, 1e9)
    denoiser.sigma_max = math.inf
    return sd.Model(denoiser, "own")


WORDS = {"prompt": "a red cube", "negative_prompt": "blue"}


def drawn(pipe: Any, scheduler: SolverScheduler, rows: int, nfe: int) -> Tensor:
    """Latents of the pipeline, from our start."""
    pipe.scheduler = scheduler
    more = {"max_sequence_length": tiny.T5_LENGTH} if hasattr(pipe, "text_encoder_3") else {}
    return pipe(
        [WORDS["prompt"]] * rows, negative_prompt=[WORDS["negative_prompt"]] * rows,
        num_inference_steps=nfe, guidance_scale=SCALE, height=16, width=16, output_type="latent",
        latents=scheduler.start((rows, 4, 8, 8)), **more,
    ).images  # fmt: skip


GRIDS: dict[str, Callable[[], Any]] = {
    "epsilon": lambda: sd.Karras(sigma_min=0.03, sigma_max=14.6),
    "v": lambda: ByTimestep(STABLE, "trailing"),
    "flow": lambda: FlowShift(3.0),
}


# Each solver with one kind and one batch here; all of them, with the mark slow.
KINDS = list(GRIDS)
SLOW: dict[bool, Any] = {False: (), True: pytest.mark.slow}
CASES = [
    pytest.param(
        kind,
        name,
        rows,
        marks=[] if KINDS[i % 3] == kind and rows == 1 + i % 2 * 2 else pytest.mark.slow,
    )
    for i, name in enumerate(SOLVERS)
    for kind in GRIDS
    for rows in (1, 3)
]


def gap(pipe: Any, kind: str, name: str, rows: int) -> float:
    """Largest difference of the pipeline's latents from our own, over the largest."""
    grid, solver = GRIDS[kind](), SOLVERS[name]
    nfe = CALLS + grid.to_zero + grid.from_infinity
    kept = pipe.scheduler
    try:
        latents = drawn(pipe, SolverScheduler(solver, grid, kept, seeds=5), rows, nfe)
    finally:
        pipe.scheduler = kept
    ours = own(pipe, kind, WORDS).sample(
        nfe=nfe, solver=solver, grid=grid, seeds=list(range(5, 5 + rows))
    )
    assert ours.nfe == nfe
    return float((latents - ours.x).abs().max() / ours.x.abs().max())


@pytest.mark.parametrize(("kind", "name", "rows"), CASES)
def test_a_pipeline_draws_what_sample_draws(
    pipes: dict[str, Any], kind: str, name: str, rows: int
) -> None:
    assert gap(pipes[kind], kind, name, rows) < TOLERANCE


def walked(scheduler: SolverScheduler, rows: int = 2, nfe: int = 6, **more: Any) -> Tensor:
    """A host's loop around a network that answers with a smooth function of its input."""
    scheduler.set_timesteps(nfe)
    x = scheduler.init_noise_sigma * sd.Seeds().start(range(rows), (2, 4, 4))
    for t in scheduler.timesteps:
        x = scheduler.step(torch.tanh(x) * (1 + t / 2000), t, x, **more).prev_sample
    return x


CONFIG = {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear",
          "beta_start": 0.00085, "beta_end": 0.012}  # fmt: skip


def calibrated() -> Calibrated:
    """Four evaluations of latents, each step of all residuals so far."""
    levels = torch.tensor([9.0, 3.0, 1.0, 0.3, 0.05], dtype=torch.float64)
    weights = torch.diag(levels[1:] - levels[:-1])
    weights[1, 0], weights[2, 1], weights[3, 0] = 0.4, 0.2, -0.05
    modes = torch.eye(256, dtype=torch.float64)[:2]
    law = Normal(torch.zeros(256).double(), modes, torch.tensor([1.5, 0.5]).double(), 0.8)
    rules = {4: Rule(levels, levels[:-1].clone(), weights)}
    made = Calibration("another", False, (4, 8, 8), 14.0, law, rules)
    return Calibrated(made, allow_other_model=True)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_calibrated_solver_draws_what_sample_draws(pipes: dict[str, Any], rows: int) -> None:
    pipe = pipes["epsilon"]
    kept, solver = pipe.scheduler, calibrated()
    scheduler = SolverScheduler(solver, None, kept, seeds=5)
    with pytest.raises(InputError, match=r"start: call set_timesteps"):
        scheduler.start((rows, 4, 8, 8))
    scheduler.set_timesteps(4)
    try:
        latents = drawn(pipe, scheduler, rows, 4)
    finally:
        pipe.scheduler = kept
    ours = own(pipe, "epsilon", WORDS).sample(nfe=4, solver=solver, seeds=list(range(5, 5 + rows)))
    assert float((latents - ours.x).abs().max() / ours.x.abs().max()) < TOLERANCE


# Steps of one evaluation and of two, with memory, with noise.
BEGUN = ("ddim", "unipc", "dpmpp_3m", "heun", "dpmpp_2s", "ancestral", "sa_solver")
FAST = ("unipc", "heun", "ancestral")
STEPS = 9


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in BEGUN]
)
@pytest.mark.parametrize("rows", [1, 3])
def test_image_to_image_draws_what_a_start_draws(
    pipes: dict[str, Any], name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strength of 5 / 9 leaves out the first four of nine evaluations, and so do we."""
    base, solver, seeds = pipes["epsilon"], SOLVERS[name], list(range(5, 5 + rows))
    pipe = tiny.diffusers.StableDiffusionImg2ImgPipeline(**base.components)
    pipe.set_progress_bar_config(disable=True)
    scheduler = SolverScheduler(solver, ByTimestep(STABLE, "trailing"), base.scheduler, seeds=5)
    pipe.scheduler = scheduler
    x_0 = torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    n = scheduler.start((rows, 4, 8, 8))
    module = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img.randn_tensor"
    monkeypatch.setattr(module, lambda *args, **given: n)
    latents = pipe(
        [WORDS["prompt"]] * rows, image=x_0, negative_prompt=[WORDS["negative_prompt"]] * rows,
        num_inference_steps=STEPS, strength=5 / STEPS, guidance_scale=SCALE, output_type="latent",
    ).images  # fmt: skip
    first = sum(call.begins for call in scheduler._calls[:4])
    levels = sd.EDM().noise_level(scheduler._walking().times).tolist()[first:]
    ours = own(base, "epsilon", WORDS).sample(
        nfe=5, solver=solver, grid=[*levels, 0.0], seeds=seeds, start=sd.FromImage(x_0, levels[0])
    )
    assert ours.nfe == 5
    assert float((latents - ours.x).abs().max() / ours.x.abs().max()) < TOLERANCE


def test_noise_is_that_of_the_seeds_or_of_the_host() -> None:
    """Seeds a row: a row is the same in any batch; a generator: the same from the same state."""
    seeded = walked(SolverScheduler(sd.Ancestral(), None, CONFIG, seeds=7), 3)
    alone = walked(SolverScheduler(sd.Ancestral(), None, CONFIG, seeds=[7]), 1)
    assert torch.allclose(seeded[:1], alone, atol=1e-6)
    host = [
        walked(
            SolverScheduler(sd.Ancestral(), None, CONFIG),
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(host[0], host[1])
    assert not torch.allclose(host[0], host[2], atol=1e-2)


def test_a_step_of_two_evaluations_keeps_the_noise_that_it_drew() -> None:
    """Asked twice a step, the host's generator is drawn from once a draw, not once a replay."""
    generator = torch.Generator().manual_seed(3)
    scheduler = SolverScheduler(sd.SEEDS(), sd.Karras(sigma_min=0.1, sigma_max=10.0), CONFIG)
    first = walked(scheduler, generator=generator)
    again = walked(scheduler, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, again)


def test_what_the_host_changes_between_steps_is_taken() -> None:
    scheduler = SolverScheduler(sd.DDIM(), None, CONFIG)
    scheduler.set_timesteps(4)
    x = torch.ones(1, 2, 4, 4)
    (x,) = scheduler.step(0 * x, scheduler.timesteps[0], x, return_dict=False)
    (kept,) = scheduler.step(0 * x, scheduler.timesteps[1], x, return_dict=False)
    scheduler.set_timesteps(4)
    y = torch.ones(1, 2, 4, 4)
    (y,) = scheduler.step(0 * y, scheduler.timesteps[0], y, return_dict=False)
    (changed,) = scheduler.step(0 * y, scheduler.timesteps[1], 2 * y, return_dict=False)
    assert torch.allclose(changed, 2 * kept)


@pytest.mark.parametrize(
    ("name", "solver", "grid"),
    [
        ("DPM++ 2M Karras", sd.DPMpp2M(), sd.KarrasToZero()),
        ("euler_ancestral simple", sd.Ancestral(), sd.ByTimestep(spacing="simple")),
        ("UniPC", sd.UniPC(3, lower_order_final=True), None),
    ],
)
def test_a_name_of_other_programs_is_its_solver_and_its_grid(
    name: str, solver: Solver, grid: Any
) -> None:
    named = walked(SolverScheduler(name, model=CONFIG, seeds=7))
    assert torch.equal(named, walked(SolverScheduler(solver, grid, CONFIG, seeds=7)))


def test_a_method_without_a_schedule_takes_a_grid_beside_it() -> None:
    named = walked(SolverScheduler("dpmpp_2m", "karras_to_zero", CONFIG))
    assert torch.equal(named, walked(SolverScheduler("DPM++ 2M Karras", model=CONFIG)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            lambda: SolverScheduler("DPM++ 2M Karras", "beta", CONFIG),
            "grid=beta: sampler=.* leave one",
        ),
        (lambda: SolverScheduler("DPM++ 2M Karras", CONFIG), "grid=dict: .* give it as model="),
        (lambda: SolverScheduler("DPM++ 2M Karas", model=CONFIG), "did you mean 'DPM.. 2M Karras'"),
        (
            lambda: walked(SolverScheduler("UniPC AYS SVD", model=CONFIG)),
            r"give Karras\(sigma_min=0.0",
        ),
        (lambda: SolverScheduler(sd.UniPC(3), sd.Karras()), "model: nothing says what"),
        (lambda: SolverScheduler(sd.UniPC(3), None, "pipe"), "model=str: no pipeline"),
        (lambda: SolverScheduler(sd.DoPri(), None, CONFIG), "solver=DoPri: owns its stepping"),
        (lambda: walked(SolverScheduler(sd.UniPC(3), sd.Karras(), CONFIG)), "grid: levels 0.002"),
        (
            lambda: walked(SolverScheduler(sd.Heun(), [10.0, 3.0, 1.0, 0.0], CONFIG)),
            "grid.levels: 3 levels make 2 steps|num_inference_steps=6",
        ),
        (
            lambda: walked(
                SolverScheduler(
                    sd.UniPC(3), sd.Karras(), {"_class_name": "FlowMatchEulerDiscreteScheduler"}
                )
            ),
            "pipeline of a flow with the noise itself",
        ),
        (lambda: walked(SolverScheduler(sd.UniPC(3), None, CONFIG), eta=0.5), "eta=0.5: belongs"),
        (
            lambda: walked(SolverScheduler(sd.UniPC(3), None, CONFIG, seeds=[1, 2, 3])),
            "seeds: 3 for a batch of 2",
        ),
        (
            lambda: SolverScheduler(sd.UniPC(3), None, CONFIG).step(
                torch.zeros(1, 2, 4, 4), 5, torch.zeros(1, 2, 4, 4)
            ),
            "call set_timesteps",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    wrong: Callable[[], Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        wrong()
    assert "\n" not in str(refusal.value)


def test_a_timestep_out_of_turn_is_refused() -> None:
    scheduler = SolverScheduler(sd.UniPC(3), None, CONFIG)
    scheduler.set_timesteps(6)
    x = torch.ones(1, 2, 4, 4)
    (x,) = scheduler.step(x, scheduler.timesteps[0], x, return_dict=False)
    with pytest.raises(InputError, match="call 1 of this walk is another"):
        scheduler.step(x, scheduler.timesteps[3], x)
