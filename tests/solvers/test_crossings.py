"""What crosses between host and device while a solver walks: nothing, or one read a step.

Held on a pretend device, which logs every read and copy, and on CUDA where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import MixtureDenoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import KarrasPreconditioning
from sde_diffusion.denoisers.wrapper import Wrapper
from sde_diffusion.guidance import ClassifierFree, Clip, Guided
from sde_diffusion.networks import UNet
from sde_diffusion.process.noise import Brownian, NoiseSource, Seeds
from sde_diffusion.process.sde import Marginal
from sde_diffusion.sampling.likelihood import Likelihood, isotropic
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.calibrated.solver import Calibrated
from sde_diffusion.solvers.step import Ask
from tests.far import FAR, FarDevice
from tests.refusals import refused
from tests.solvers.checks import budget_of
from tests.solvers.configs import CASES, Case, title
from tests.solvers.conftest import MEAN, SDES, VARIANCE, make, walked
from tests.solvers.test_calibrated import ddim_rule, of_classes, written

F64 = torch.float64
CUDA = torch.device("cuda")
SEEDS, LABELS = [3, 4, 5], [0, 1, 1]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
HOST = ("scipy", "torchsde_adaptive")


@lru_cache
def cases(adaptive: bool) -> list[Case]:
    return [case for case in CASES if case[0] not in HOST and make(*case)[0].adaptive == adaptive]


def labelled() -> MixtureDenoiser:
    """Two components, of one class each."""
    means, variances = torch.stack([MEAN, -MEAN]), torch.stack([VARIANCE, 0.1 * VARIANCE])
    weights = torch.tensor([0.3, 0.7], dtype=F64)
    return MixtureDenoiser(weights, means, variances, labels=torch.tensor([0, 1]))


def guided() -> Denoiser:
    return Guided(Guided(labelled(), ClassifierFree(2.0)), Clip())


class Calls:
    """How often a denoiser was called."""

    calls = 0


class Walk(Calls):
    """A solver's walk of three labelled rows on some device, with what crosses on its way.

    Attributes:
        end: where it comes out, on the host. calls: of the denoiser.
        reads, copies: what the pretend device logged from the first state on.
    """

    def __init__(
        self,
        solver: Solver,
        denoiser: Denoiser,
        device: torch.device,
        sde: str = "vp",
        source: NoiseSource | None = None,
        labels: list[int] | None = None,
        dtype: torch.dtype = F64,
    ) -> None:
        process, source = SDES[sde], source or Seeds()
        times = walked(solver).times(process, solver.steps(budget_of(solver, 5)))
        cond = Condition.label(LABELS if labels is None else labels)
        solver.check_condition(cond)
        shape = denoiser.shape
        with torch.no_grad(), FarDevice() as log:
            asked = Counted(denoiser.to(device), self)
            drawn = SEEDS, shape, dtype, device
            x, noise = process.prior(source.start(*drawn), times[0]), source.batch(*drawn)
            ask = Ask(process, asked, cond.to(device))
            began: list[bool] = []

            def observe(at: Marginal, x: Tensor) -> None:
                if not began:
                    began.append(True)
                    log.clear()

            with strict(device):
                x = solver.solve(ask, x, times, noise, observe)
            self.reads, self.copies = list(log.reads), list(log.copies)
            self.end = x.cpu()


@contextmanager
def strict(device: torch.device) -> Iterator[None]:
    """On CUDA a wait for the device is an error."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Counted(Wrapper):
    """Counts its calls."""

    def __init__(self, inner: Denoiser, count: Calls) -> None:
        super().__init__(inner)
        self.count = count

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        self.count.calls += 1
        answer: Tensor = self.inner(x, sigma, cond)
        return answer


def check_nothing_crosses(walk: Walk) -> None:
    assert walk.reads == []
    assert walk.copies == []


@pytest.mark.parametrize("case", cases(adaptive=False), ids=title)
def test_a_solver_of_fixed_steps_waits_for_nothing(case: Case) -> None:
    """Labels are told, and the sample is that of the CPU to the last bit."""
    far = Walk(make(*case)[0], labelled(), FAR)
    check_nothing_crosses(far)
    near = Walk(make(*case)[0], labelled(), torch.device("cpu"))
    assert torch.allclose(far.end, near.end, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["ancestral", "euler_maruyama", "seeds", "torchsde"])
def test_nor_along_a_brownian_path(name: str) -> None:
    check_nothing_crosses(Walk(make(name)[0], labelled(), FAR, source=Brownian()))


@pytest.mark.parametrize("name", ["unipc", "ancestral", "heun", "predictor_corrector"])
@pytest.mark.parametrize("sde", ["edm", "flow"])
def test_nor_under_guidance(name: str, sde: str) -> None:
    check_nothing_crosses(Walk(make(name)[0], guided(), FAR, sde))


def small() -> Denoiser:
    torch.manual_seed(0)
    network = UNet(channels=1, widths=[8, 8], blocks=1, attention=[1], patch=1, embedding=16,
                   classes=2)  # fmt: skip
    return NetworkDenoiser(network, KarrasPreconditioning(), (1, 8, 8)).eval()


class Shrink(nn.Module):
    """The denoiser of N(0, I), as a user's module."""

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma[:, None] ** 2)


def wrapped() -> Denoiser:
    return FunctionDenoiser(Shrink(), (4,))


@pytest.mark.parametrize("make_denoiser", [small, wrapped])
@pytest.mark.parametrize("name", ["unipc", "dpmpp_2m_sde"])
def test_nor_with_a_network_or_a_callable(name: str, make_denoiser: Callable[[], Denoiser]) -> None:
    check_nothing_crosses(Walk(make(name)[0], make_denoiser(), FAR, dtype=torch.float32))


def calibrated(folder: Path) -> Calibrated:
    """A rule with a law of two classes, its answers, and bands in the last step."""
    plain = ddim_rule([40.0, 10.0, 2.5, 0.5, 0.1, 0.002])
    rows = plain.weights[-1].expand(3, -1)
    rule = replace(plain, normal=0.1 * plain.weights, last=rows)
    path = written(folder / "a", rules={5: rule}, normal=of_classes(), conditional=True,
                   kind="pca", edges=(1.0, 2.0))  # fmt: skip
    return Calibrated(path, allow_other_model=True)


def test_a_calibrated_rule_has_its_law_on_the_device(tmp_path: Path) -> None:
    """Modes, means of classes, variances and bands are moved once, before the first step."""
    solver = calibrated(tmp_path)
    walks = [
        Walk(solver, wrapped(), device, labels=[3, 5, -1], dtype=torch.float32)
        for device in (FAR, torch.device("cpu"))
    ]
    check_nothing_crosses(walks[0])
    assert torch.equal(walks[0].end, walks[1].end)


@pytest.mark.parametrize("case", cases(adaptive=True), ids=title)
def test_an_adaptive_solver_reads_once_a_step(case: Case) -> None:
    """Its answers are asked for 6 times a step, or once; the first is before all steps.

    What is copied are the keys of the path, and the numbers of the rows that go on when some have
    arrived.
    """
    far = Walk(make(*case)[0], labelled(), FAR)
    steps, rest = divmod(far.calls - 1, {"dopri": 6, "adaptive_sde": 1}[case[0]])
    assert rest == 0
    assert far.reads == steps * ["aten._to_copy"]
    keys, numbers = {"dopri": (0, 1), "adaptive_sde": (2, 3)}[case[0]]
    assert len(far.copies) <= keys + numbers * (len(SEEDS) - 1)
    near = Walk(make(*case)[0], labelled(), torch.device("cpu"))
    assert torch.allclose(far.end, near.end, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("probes", [2, None])
def test_a_likelihood_reads_once_a_step(probes: int | None) -> None:
    denoiser, prior = labelled(), isotropic(4)
    calls = Calls()
    asked = Counted(denoiser, calls)
    likelihood = Likelihood.build(SDES["edm"], asked, prior, 0.1, 20.0, 0.3, probes)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    near = likelihood(x, cond=Condition.label(LABELS))
    with FarDevice() as log:
        asked.to(FAR)
        prior.to(FAR)
        x, cond = x.to(FAR), Condition.label(LABELS).to(FAR)
        log.clear()
        calls.calls = 0
        far = likelihood(x, cond=cond)
        # Besides: whether x is finite, its labels and their keeps, those of the mixture, log p and
        # its error.
        assert len(log.reads) == 6 + (calls.calls - 1) / 6
        assert torch.allclose(far.log_p, near.log_p, rtol=1e-9)


@pytest.mark.parametrize("name", HOST)
def test_a_solver_of_the_host_refuses_a_device(name: str) -> None:
    solver = make(name)[0]
    assert solver.on_cpu
    with refused("device=meta", "set device=cpu, or"):
        Walk(solver, labelled(), FAR)


@needs_cuda
@pytest.mark.parametrize("case", cases(adaptive=False), ids=title)
def test_on_cuda_too(case: Case) -> None:
    """No wait, and the sample of the CPU to rounding: noise is the same to 1e-12."""
    far, near = (Walk(make(*case)[0], labelled(), d) for d in (CUDA, torch.device("cpu")))
    assert torch.allclose(far.end, near.end, rtol=1e-6, atol=1e-6)


@needs_cuda
def test_a_calibrated_rule_on_cuda(tmp_path: Path) -> None:
    solver = calibrated(tmp_path)
    walks = [
        Walk(solver, wrapped(), device, labels=[3, 5, -1], dtype=torch.float32)
        for device in (CUDA, torch.device("cpu"))
    ]
    assert torch.allclose(walks[0].end, walks[1].end, rtol=1e-4, atol=1e-4)
