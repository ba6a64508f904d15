"""Solvers and diffusers' schedulers of the same methods, for ``overhead.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A solver and the scheduler of the same method.

    Attributes:
        process: the coordinates that the scheduler works in; ours gets the same.
        several: a multistep solver, of which half the peer's time is asked; else all of it.
        predictions: what the scheduler can be given: the denoised image ("sample"), the noise
            ("epsilon"), the velocity.
    """

    label: str
    words: list[str]
    peer: str
    options: dict[str, Any] = field(default_factory=dict)
    step: dict[str, Any] = field(default_factory=dict)
    process: str = "vp"
    several: bool = False
    predictions: tuple[str, ...] = ("sample", "epsilon")

    @property
    def target(self) -> float:
        return 0.5 if self.several else 1.0


def several(
    label: str, words: str, peer: str, options: dict[str, Any] | None = None, process: str = "vp",
    predictions: tuple[str, ...] = ("sample", "epsilon"),
) -> Case:  # fmt: skip
    """A case of a multistep solver."""
    return Case(label, words.split(), peer, options or {}, {}, process, True, predictions)


DPM, UNIPC, DEIS, SA = (
    f"{name}Scheduler"
    for name in ("DPMSolverMultistep", "UniPCMultistep", "DEISMultistep", "SASolver")
)
EPSILON = ("epsilon",)
CASES = [
    several("DPM-Solver++ 2M", "solver=dpmpp_2m", DPM),
    several("DPM-Solver++ 3M", "solver=dpmpp_3m", DPM, {"solver_order": 3}),
    several("SDE-DPM-Solver++ 2M", "solver=dpmpp_2m_sde", DPM,
            {"algorithm_type": "sde-dpmsolver++"}),
    several("UniPC-2", "solver=unipc", UNIPC),
    several("UniPC-3", "solver=unipc solver.order=3", UNIPC, {"solver_order": 3}),
    several("DEIS-tAB1", "solver=deis solver.order=1", DEIS, {"solver_order": 2}),
    several("DEIS-tAB2", "solver=deis solver.order=2", DEIS, {"solver_order": 3}),
    several("iPNDM-4", "solver=ipndm", "IPNDMScheduler", process="sigma", predictions=EPSILON),
    several("LMS-4", "solver=lms", "LMSDiscreteScheduler", process="sigma"),
    several("SA-Solver 2, 2", "solver=sa_solver solver.predictor=2 solver.corrector=2", SA,
            {"tau_func": lambda t: 1.0}),
    several("SA-Solver 3, 4", "solver=sa_solver", SA,
            {"predictor_order": 3, "corrector_order": 4, "tau_func": lambda t: 1.0}),
    Case("DDIM", ["solver=ddim"], "DDIMScheduler", {"clip_sample": False}),
    Case("Euler", ["solver=ddim"], "EulerDiscreteScheduler", process="sigma"),
    Case("ancestral", ["solver=ancestral"], "DDIMScheduler", {"clip_sample": False}, {"eta": 1.0}),
    Case("ancestral (DDPM)", ["solver=ancestral"], "DDPMScheduler", {"clip_sample": False}),
    Case("ancestral (Euler)", ["solver=ancestral"], "EulerAncestralDiscreteScheduler",
         process="sigma", predictions=EPSILON),
    Case("Heun", ["solver=heun"], "HeunDiscreteScheduler", process="sigma"),
    Case("DPM-Solver-2", ["solver=dpm2"], "KDPM2DiscreteScheduler", process="sigma",
         predictions=EPSILON),
    Case("DPM-Solver++ 2S", ["solver=dpmpp_2s"], "DPMSolverSinglestepScheduler"),
    Case("ancestral over DPM-Solver-2", ["solver=renoise"], "KDPM2AncestralDiscreteScheduler",
         process="sigma", predictions=EPSILON),
]  # fmt: skip
# What a peer is handed here is the slope itself; ours, handed the image, must make it.
UNLIKE = [
    several("iPNDM-4", "solver=ipndm", "PNDMScheduler", {"skip_prk_steps": True},
            predictions=EPSILON),
    Case("DDIM, rectified flow", ["solver=ddim"], "FlowMatchEulerDiscreteScheduler",
         process="flow", predictions=("velocity",)),
]  # fmt: skip
