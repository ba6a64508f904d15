"""CONTRIBUTING's solver in two files runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler, Watch

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text()


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)[:1]
    return re.sub(r"^   ", "", found, flags=re.MULTILINE)


def test_the_example_is_a_solver_of_its_declared_order() -> None:
    import torch

    names: dict[str, Any] = {}
    exec(block("python"), names)
    solver = names["Midpoint"]()
    variance = torch.tensor([1.0, 0.1], dtype=torch.float64)
    denoiser = GaussianDenoiser(variance)
    errors = []
    for nfe in (128, 256):
        sampler = Sampler.build(EDM(), denoiser, solver, Karras())
        drawn = sampler.sample(
            Request([0, 1], nfe), Execution(dtype=torch.float64), Watch(trajectory=True)
        )
        assert drawn.nfe == nfe
        assert drawn.trajectory is not None
        ends = torch.tensor([80.0, 0.002], dtype=torch.float64)
        exact = denoiser.flow(drawn.trajectory[0], *ends)
        errors.append(float((drawn.x - exact).norm()))
    assert errors[0] / errors[1] > 2 ** (solver.order - 0.15)


def test_the_example_yaml_names_it() -> None:
    config = OmegaConf.create(block("yaml"))
    assert config._target_ == "sde_diffusion.solvers.midpoint.Midpoint"
