"""A folder that diffusers wrote, opened here, walks as its own loop of network and scheduler.

One start, 10 and 28 steps, each spacing: every state within 1e-4 of the peer's, relative to the
size of a state at its level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.denoisers.convention import DiscreteTime, StraightPath
from sde_diffusion.face.model import Model
from sde_diffusion.process.sde import VP
from sde_diffusion.process.timesteps import FlowShift
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.deis import DEIS
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.dpmpp_3m import DPMpp3M
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.unipc import UniPC

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [peers]")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
TOLERANCE = 1e-4
STEPS = [10, pytest.param(28, marks=pytest.mark.slow)]
SPACINGS = ("leading", "trailing", "linspace")


class LogNoise(VP):
    """The time in which diffusers' DEIS extrapolates: log(sigma / alpha)."""

    def time(self, lam: Tensor) -> Tensor:
        return -lam


def deis() -> Solver:
    """Exception 1, as in test_diffusers: its polynomial stands in log(sigma / alpha)."""
    solver = DEIS(order=1)
    solver.vp = LogNoise()
    return solver


@dataclass(frozen=True)
class Peer:
    """A scheduler by name and fields, and our solver."""

    name: str
    solver: Solver
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        return 2 if "Heun" in self.name else 1


def unet() -> Any:
    """A UNet2DModel of 18,000 random weights."""
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16),
        layers_per_block=1, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_num_groups=4, attention_head_dim=8,
    ).eval()  # fmt: skip


def folder(tmp_path: Path, peer: Peer) -> tuple[Any, Any]:
    """Network and scheduler, written to a folder as they are."""
    network = unet()
    scheduler = getattr(diffusers, f"{peer.name}Scheduler")(**peer.fields)
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(tmp_path)
    return network, scheduler


@torch.no_grad()
def peers_walk(network: Any, scheduler: Any, n: int, noise: Tensor, calls: int) -> list[Tensor]:
    """The states of diffusers' loop after each step, divided by alpha, the image last."""
    scheduler.set_timesteps(n)
    flow = hasattr(scheduler, "shift") or scheduler.config.get("use_flow_sigmas")
    own = hasattr(scheduler, "sigmas")
    levels = scheduler.sigmas.double() if own else torch.zeros(0)
    alphas = [*scheduler.alphas_cumprod[scheduler.timesteps].tolist(), 1.0] if not own else []
    x = noise * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else noise
    variance_exploding = type(scheduler).__name__.startswith(("Euler", "Heun"))
    states = []
    for i, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t) if variance_exploding else x
        x = scheduler.step(network(scaled, t).sample, t, x).prev_sample
        if i % calls or calls == 1 or i == len(scheduler.timesteps) - 1:
            alpha = 1.0
            if flow:
                alpha = 1 - float(levels[i + 1])
            elif not variance_exploding and own:
                alpha = (1 + float(levels[i + 1]) ** 2) ** -0.5
            elif not variance_exploding:
                alpha = float(alphas[i + 1]) ** 0.5
            states.append(x / alpha)
    return states


def first_size(scheduler: Any, level: float) -> float:
    """Of the peer's first x_t / alpha, in units of sigma: ours is sigma n."""
    name = type(scheduler).__name__
    if math.isinf(level) or name.startswith("FlowMatch"):
        return 1.0
    if scheduler.config.get("use_flow_sigmas"):
        return 1 + 1 / level  # x = n where (1 - t) x_0 + t n has t n, t = s / (1 + s)
    if name.startswith(("Euler", "Heun")):
        return float(scheduler.init_noise_sigma) / level
    return math.sqrt(1 + level**2) / level


def walked(model: Model, peer: Peer, scheduler: Any, n: int, noise: Tensor) -> sd.Samples:
    levels = model.grid.levels(n)  # type: ignore[union-attr]
    level = math.inf if model.grid.from_infinity else float(levels[0])  # type: ignore[union-attr]
    start = noise * first_size(scheduler, level)
    nfe = 2 * (n - 1) + 1 if peer.calls == 2 else n
    if peer.calls == 2 and math.isinf(level):
        nfe = 2 * (n - 2) + 2
    return model.sample(len(noise), nfe, solver=peer.solver, x_T=start, trajectory=True)


def gap(tmp_path: Path, peer: Peer, n: int, model: Model | None = None) -> float:
    """Largest difference of a state or the image, relative to its level's size."""
    network, scheduler = folder(tmp_path, peer)
    model = model or sd.load(tmp_path)
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs = peers_walk(network, scheduler, n, noise, peer.calls)
    ours = walked(model, peer, scheduler, n, noise)
    largest = max(1.0, float(theirs[-1].abs().max()))
    worst = float((ours.x - theirs[-1]).abs().max()) / largest
    assert ours.trajectory is not None
    assert ours.times is not None
    states, times = list(ours.trajectory), ours.times.tolist()
    if not model.grid.from_infinity:  # type: ignore[union-attr]
        states, times = states[1:], times[1:]
    for a, b, level in zip(states, theirs, times, strict=False):
        if bool(b.isfinite().all()):
            size = math.sqrt(1 + level**2) * largest
            worst = max(worst, float((a - b).abs().max()) / size)
    return worst


V_ZERO = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
MULTI = {
    "DPMSolverMultistep 2": (DPMpp2M(lower_order_final=True), {}),
    "DPMSolverMultistep 3": (DPMpp3M(lower_order_final=True), {"solver_order": 3}),
    "UniPCMultistep 2": (UniPC(2, True), {}),
    "UniPCMultistep 3": (UniPC(3, True), {"solver_order": 3}),
    "DEISMultistep 2": (deis(), {}),
}
CASES: dict[str, Peer] = {
    **{
        f"{name} {spacing}": Peer(name.split()[0], solver, {**more, "timestep_spacing": spacing})
        for name, (solver, more) in MULTI.items()
        for spacing in SPACINGS
    },
    **{
        f"{name} {spacing} karras={karras}": Peer(
            name, solver, {"timestep_spacing": spacing, "use_karras_sigmas": karras}
        )
        for name, solver in (("EulerDiscrete", DDIM()), ("HeunDiscrete", Heun()))
        for spacing in SPACINGS
        for karras in (False, True)
    },
    "DDIM leading": Peer("DDIM", DDIM(), {"clip_sample": False, "steps_offset": 1}),
    "DDIM v": Peer("DDIM", DDIM(), {"prediction_type": "v_prediction", "clip_sample": False}),
    "DDIM x0": Peer("DDIM", DDIM(), {"prediction_type": "sample", "clip_sample": False}),
    "DDIM cosine": Peer(
        "DDIM", DDIM(), {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False}
    ),
    "Euler zero SNR": Peer("EulerDiscrete", DDIM(), {**V_ZERO, "timestep_spacing": "trailing"}),
    "FlowMatchEuler": Peer("FlowMatchEulerDiscrete", DDIM()),
    "FlowMatchEuler shift 3": Peer("FlowMatchEulerDiscrete", DDIM(), {"shift": 3.0}),
}  # fmt: skip

FLOW = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
KARRAS = {"use_karras_sigmas": True}
# Exception 2: these tell the network a whole number, the nearest or, of a flow, the one below.
WHOLE: dict[str, Peer] = {
    "DPMSolverMultistep karras": Peer(
        "DPMSolverMultistep", DPMpp2M(lower_order_final=True), KARRAS
    ),
    "UniPCMultistep karras": Peer("UniPCMultistep", UniPC(2, True), KARRAS),
    "DEISMultistep karras": Peer("DEISMultistep", deis(), KARRAS),
    "DPMSolverMultistep flow": Peer("DPMSolverMultistep", DPMpp2M(lower_order_final=True), FLOW),
}


class Nearest(DiscreteTime):
    """Told the nearest whole number."""

    def c_noise(self, sigma: Tensor) -> Tensor:
        return super().c_noise(sigma).round()


class Below(StraightPath):
    """Told the whole number below; the float32 of the peer may fall on the other side of one."""

    def c_noise(self, sigma: Tensor) -> Tensor:
        return (super().c_noise(sigma).float() + 1e-4).floor().to(sigma)


@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("case", CASES)
def test_the_walk_is_the_peers(case: str, n: int, tmp_path: Path) -> None:
    assert gap(tmp_path, CASES[case], n) < TOLERANCE


def whole_numbers(model: Model) -> Model:
    """The same, whose network is told whole numbers."""
    inner = model.denoiser.parameterization
    kind = Nearest if isinstance(inner, DiscreteTime) else Below
    model.denoiser.parameterization = kind(**inner.fields())  # type: ignore[assignment]
    return model


def log_time(tmp_path: Path, n: int) -> tuple[float, float]:
    """Of exception 1: how far the peer is from ours, and from its own way walked here."""
    plain = replace(CASES["DEISMultistep 2 leading"], solver=DEIS(order=1))
    return gap(tmp_path, plain, n), gap(tmp_path, replace(plain, solver=deis()), n)


def told_whole(tmp_path: Path, n: int, case: str) -> tuple[float, float]:
    """Of exception 2, the same two."""
    peer = WHOLE[case]
    beside = gap(tmp_path, peer, n)
    return beside, gap(tmp_path, peer, n, whole_numbers(sd.load(tmp_path)))


@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("case", WHOLE)
def test_exception_2_the_peer_tells_whole_numbers(case: str, n: int, tmp_path: Path) -> None:
    beside, own_way = told_whole(tmp_path, n, case)
    assert own_way < TOLERANCE < beside


class AtLast(FlowShift):
    """The grid of UniPC, whose start is not infinity but t = 1 - 1e-6, in float32."""

    first = 1.0

    def __init__(self, scheduler: Any) -> None:
        super().__init__(3.0, lay="unipc")
        t = float(scheduler.sigmas[0].double())
        self.first, self.from_infinity = t / (1 - t), False
        self.sigma_max = self.first

    def levels(self, count: int) -> Tensor:
        found = FlowShift(3.0, lay="unipc").levels(count)
        found[0] = self.first
        return found


def unipc_flow(tmp_path: Path, n: int) -> tuple[float, float]:
    """Of exception 7, the same two."""
    peer = Peer("UniPCMultistep", UniPC(2, True), FLOW)
    _, scheduler = folder(tmp_path, peer)
    scheduler.set_timesteps(n)
    model = whole_numbers(sd.load(tmp_path))
    own_way = gap(tmp_path, peer, n, replace(model, grid=AtLast(scheduler)))
    return gap(tmp_path, peer, n, model), own_way


@pytest.mark.parametrize("n", STEPS)
def test_exception_7_unipc_starts_a_flow_a_millionth_before_the_noise(
    n: int, tmp_path: Path
) -> None:
    """It tells 999 there, and corrects its first step; from infinity none is corrected."""
    beside, own_way = unipc_flow(tmp_path, n)
    assert own_way < TOLERANCE < beside


@torch.no_grad()
def fixed_steps(tmp_path: Path, spacing: str, n: int) -> tuple[float, float]:
    """Of exception 3, the same two."""
    peer = Peer("DDIM", DDIM(), {"timestep_spacing": spacing, "clip_sample": False})
    network, scheduler = folder(tmp_path, peer)
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs = peers_walk(network, scheduler, n, noise, 1)[-1]
    model = sd.load(tmp_path)
    sigmas, x = model.denoiser.parameterization.table.sigmas, noise  # type: ignore[union-attr]
    for k in scheduler.timesteps.tolist():
        level, before = sigmas[k], k - 1000 // n
        image = model.denoiser(x * (1 + level**2).sqrt(), level)
        s = sigmas[before] if before >= 0 else torch.tensor(0.0)
        y = image + s / level * (x * (1 + level**2).sqrt() - image)
        x = (y / (1 + s**2).sqrt()).float()
    return gap(tmp_path, peer, n), float((x - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_exception_3_ddim_steps_by_a_fixed_number(spacing: str, n: int, tmp_path: Path) -> None:
    """From k it goes to k - T // N, wherever the next k stands; ours goes to the next."""
    beside, own_way = fixed_steps(tmp_path, spacing, n)
    assert own_way < TOLERANCE
    if spacing == "linspace" or n == 28:
        assert beside > TOLERANCE


@torch.no_grad()
def flow_heun(tmp_path: Path, n: int) -> tuple[float, float]:
    """Of exception 4, the same two, of the image."""
    peer = Peer("FlowMatchHeunDiscrete", Heun(), {"shift": 3.0})
    network, scheduler = folder(tmp_path, peer)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs = peers_walk(network, scheduler, n, x, 2)[-1]
    model = sd.load(tmp_path)

    def slope(x: Tensor, t: float) -> Tensor:
        at_noise = t == 1
        level = torch.tensor(math.inf if at_noise else t / (1 - t), dtype=torch.float64)
        return (x - model.denoiser(x if at_noise else x / (1 - t), level)) / t

    levels = model.grid.levels(n)  # type: ignore[union-attr]
    times = [1.0, *(levels[1:] / (1 + levels[1:])).tolist(), 0.0]
    for t, s in pairwise(times):
        first = slope(x, t)
        second = slope(x + (s - t) * first, s) if s else first
        x = x + (s - t) * (first + second) / 2
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    ours = walked(model, peer, scheduler, n, noise).x
    size = theirs.abs().max()
    return float((ours - theirs).abs().max() / size), float((x - theirs).abs().max() / size)


@pytest.mark.parametrize("n", STEPS)
def test_exception_4_flow_heun_steps_in_the_time_of_the_flow(n: int, tmp_path: Path) -> None:
    """dx/dt = (x_t - D) / t by Heun's method in t; ours is Heun's method in sigma = t / (1 - t)."""
    beside, own_way = flow_heun(tmp_path, n)
    assert own_way < TOLERANCE < beside


def test_exception_5_ddim_at_zero_snr_ends_at_a_number_that_is_no_level(tmp_path: Path) -> None:
    """10 steps agree, from infinity; with 28 it is exception 3."""
    fields = {**V_ZERO, "timestep_spacing": "trailing", "clip_sample": False}
    assert gap(tmp_path, Peer("DDIM", DDIM(), fields), 10) < TOLERANCE


@torch.no_grad()
def clipped(tmp_path: Path) -> tuple[float, float]:
    """Of exception 6: pictures of 0 .. 1 without a clip, and under one."""
    network, scheduler = folder(tmp_path, Peer("DDIM", DDIM()))
    pipe = diffusers.DDIMPipeline(network, scheduler)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        batch_size=2, generator=torch.Generator().manual_seed(1), num_inference_steps=10,
        use_clipped_model_output=True, output_type="np",
    ).images  # fmt: skip
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    model = sd.load(tmp_path)
    assert {f.key for f in model.findings if not f.honoured} >= {"clip_sample"}
    start = noise * first_size(scheduler, float(model.grid.levels(10)[0]))  # type: ignore[union-attr]
    gaps = []
    for guidance in (None, "clip"):
        ours = model.sample(2, 10, solver="ddim", guidance=guidance, x_T=start).x
        ours = (ours / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        gaps.append(float((ours - torch.from_numpy(theirs)).abs().max()))
    return gaps[0], gaps[1]


def test_exception_6_clipping_is_asked_for(tmp_path: Path) -> None:
    """DDIMPipeline with its clipped image, and the noise taken from that: ours under a clip."""
    beside, own_way = clipped(tmp_path)
    assert own_way < TOLERANCE < beside


# What a scheduler does otherwise: how far it is from ours at 10 steps, and from its own way.
EXCEPTIONS: dict[str, Callable[[Path], tuple[float, float]]] = {
    "1. DEIS extrapolates in log(sigma / alpha), not in the time of the process": partial(
        log_time, n=10
    ),
    **{
        f"2. {case}: the network is told whole numbers": partial(told_whole, n=10, case=case)
        for case in WHOLE
    },
    "3. DDIM, linspace: from k to k - T // N, wherever the next number stands": partial(
        fixed_steps, spacing="linspace", n=10
    ),
    "4. FlowMatchHeun: Heun's method in t, not in sigma = t / (1 - t)": partial(flow_heun, n=10),
    "6. DDPM and DDIM clip the image, and take the noise from it: `guidance=clip`": clipped,
    "7. UniPC, flow: starts at t = 1 - 1e-6, not at the noise": partial(unipc_flow, n=10),
}
