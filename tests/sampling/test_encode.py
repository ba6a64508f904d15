"""There and back along the probability flow: on closed forms, and on the shipped model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sde_diffusion import load
from sde_diffusion.data import Digits
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import ClassifierFree, Clip, guided
from sde_diffusion.process.noise import Seeds
from sde_diffusion.sampling.encode import ProbabilityFlow, slerp
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.adaptive.dopri import DoPri
from tests.conftest import Run
from tests.refusals import refused
from tests.solvers.conftest import SDES, gaussian, mixture

F64 = torch.float64


def rms(x: Tensor) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def data(n: int) -> Tensor:
    return mixture().sample(n, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("error", [1e-2, 1e-4, 1e-7])
def test_encoding_is_the_exact_flow_of_a_gaussian(error: float) -> None:
    """Measured as an image: the exact way back from the latent."""
    denoiser = gaussian()
    z = ProbabilityFlow.build(denoiser, error).encode(data(64))
    low, high = torch.tensor(0.002, dtype=F64), torch.tensor(80.0, dtype=F64)
    assert float(rms(denoiser.flow(80 * z, high, low) - data(64)).max()) < error


@pytest.mark.parametrize("error", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("target", [gaussian, mixture])
def test_there_and_back(target: type[Denoiser], error: float) -> None:
    """Within twice the request (once each way) for 95 % of images, the worst within ten times:
    those that lie where the mixture decides between its components."""
    flow = ProbabilityFlow.build(target(), error)
    found = rms(flow.decode(flow.encode(data(64))) - data(64))
    assert float(found.quantile(0.95)) < 2 * error
    assert float(found.max()) < 10 * error


def test_decoding_the_noise_of_a_seed_is_sampling_it() -> None:
    from sde_diffusion.process.grids import Karras

    z = Seeds().start([4, 5], (4,), F64)
    decoded = ProbabilityFlow.build(mixture(), 1e-6).decode(z)
    for sde in SDES.values():
        sampler = Sampler.build(sde, mixture(), DoPri(1e-6), Karras())
        drawn = sampler.sample(Request([4, 5], None), Execution(dtype=F64))
        assert torch.allclose(drawn.x, decoded, rtol=0, atol=1e-6)


def test_slerp_keeps_the_angle_and_the_norm() -> None:
    a, b = torch.randn(2, 5, 300, generator=torch.Generator().manual_seed(0), dtype=F64)
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    whole = torch.arccos((a * b).sum(1))
    for t in (0.0, 0.25, 1.0):
        x = slerp(a, b, t)
        assert torch.allclose(x.norm(dim=1), torch.ones(5, dtype=F64))
        assert torch.allclose(torch.arccos((a * x).sum(1).clamp(-1, 1)), t * whole, atol=1e-7)
    assert torch.allclose(slerp(a, 2 * a, 0.5), 1.5 * a)


def test_interpolation_ends_where_it_should_and_each_pair_alone() -> None:
    flow, x = ProbabilityFlow.build(mixture(), 1e-6), data(6)
    found = flow.interpolate(x[:3], x[3:], 5)
    assert found.shape == (3, 5, 4)
    ends = torch.cat([found[:, 0], found[:, -1]])
    assert float(rms(ends - x).max()) < 2e-6
    assert torch.equal(flow.interpolate(x[1:2], x[4:5], 5, batch_size=2)[0], found[1])


def test_what_has_no_way_back_is_refused() -> None:
    with refused("guidance: clipped"):
        ProbabilityFlow.build(guided(gaussian(), [Clip(), ClassifierFree()]))
    with refused("error="):
        ProbabilityFlow.build(gaussian(), 0.0)
    with refused("sigma_min="):
        ProbabilityFlow.build(gaussian(), 1e-3, 90.0)
    with refused("steps="):
        ProbabilityFlow.build(gaussian()).interpolate(data(1), data(1), 1)
    with refused("images: shape"):
        ProbabilityFlow.build(GaussianDenoiser(torch.ones(3, dtype=F64))).encode(data(1))
    flow = ProbabilityFlow.build(gaussian())
    for wrong in (data(1) * float("nan"), data(1)[:0]):
        for direction in (flow.encode, flow.decode):
            with pytest.raises(InputError, match=r"^images: [01] of them"):
                direction(wrong)
    with refused("batch_size=0"):
        flow.encode(data(1), batch_size=0)


def test_the_shipped_model_there_and_back() -> None:
    """One of its own digits, guided by its label, to an RMS error of 0.06: 8 grey levels."""
    model = load("mnist")
    x = model.sample(n=1, seed=1, nfe=10, label=7).x.double()
    options = {"label": 7, "guidance": ["cfg"], "guidance__cfg__scale": 1.5, "error": 0.03}
    z = model.encode(x, **options)
    assert z.shape == x.shape
    assert float(rms(z) - 1) == pytest.approx(0, abs=0.1)
    assert float(rms(model.decode(z, **options) - x)) < 0.06
    with pytest.raises(InputError, match="way back"):
        model.encode(x, guidance=["clip"])


def test_the_task(quick_cli: Run, tmp_path: Path, tiny_model: str) -> None:
    """Files, the error there and back, and a second run that reads the parts of the first."""
    np.savez(
        tmp_path / "five.npz", images=Digits("test").load().images[:5].permute(0, 2, 3, 1).numpy()
    )
    words = ["interpolate", f"checkpoint={tiny_model}", "images=five.npz", "pairs=2", "steps=3",
             "error=1e-4", "batch_size=3", "label=7", "guidance=cfg",
             "hydra.run.dir=out"]  # fmt: skip
    quick_cli(*words)
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["error_there_and_back"]["largest"] < 4e-4
    # Two ends up and three images down, two evaluations a call, seven calls at the least.
    assert result["evaluations_a_pair"] > 5 * 2 * 7
    made = np.load(tmp_path / "out/interpolation.npz")["images"]
    assert made.shape == (2, 3, 8, 8, 1)
    assert (made[0, 0] == Digits("test").load().images[0].permute(1, 2, 0).numpy()).all()
    assert (tmp_path / "out/grid.png").stat().st_size > 0
    parts = sorted((tmp_path / "out/parts").iterdir())
    written = [part.stat().st_mtime_ns for part in parts]
    assert len(parts) == 2
    quick_cli(*words)
    assert [part.stat().st_mtime_ns for part in parts] == written
    refused = quick_cli(*[w.replace("pairs=2", "pairs=3") for w in words], ok=False)
    assert "pairs=3" in refused.stderr
    clipped = quick_cli(*words, "guidance=clip", ok=False)
    assert "way back" in clipped.stderr
