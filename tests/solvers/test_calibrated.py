"""The calibrated solver: its file, its own grid, and which models it serves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.guidance import ClassifierFree, Clip, Guided
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import EDM, VP
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.recorder import Recorder
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.calibrated.bands import DctBands, PcaBands
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Residuals, Rule
from sde_diffusion.solvers.calibrated.solver import Calibrated
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.step import Ask
from tests.sealed_files import resealed, unsealed

VARIANCE = torch.tensor([1.0, 0.25, 0.01, 0.01], dtype=torch.float64)


def ddim_rule(levels: list[float]) -> Rule:
    """The rule that is DDIM."""
    sigma = torch.tensor(levels, dtype=torch.float64)
    return Rule(sigma, sigma[:-1].clone(), torch.diag(sigma[1:] - sigma[:-1]))


def normal(d: int = 4) -> Normal:
    """The law N(0, VARIANCE)."""
    return Normal(torch.zeros(d).double(), torch.eye(d)[:2].double(),
                  torch.tensor([1.0, 0.25]).double(), 0.01)  # fmt: skip


def of_classes() -> Normal:
    """Classes 3 and 5 about +1 and -2."""
    means = torch.tensor([1.0, -2.0])[:, None].expand(2, 4).double()
    return replace(normal(), labels=torch.tensor([3, 5]), means=means)


def made(**changes: object) -> Calibration:
    rules = {n: ddim_rule([40.0, *(10.0 / 4**k for k in range(n - 1)), 0.002]) for n in (2, 4)}
    plain = Calibration("abc", False, (4,), 80.0, normal(), rules, facts={"made": "here"})
    return replace(plain, **changes)  # type: ignore[arg-type]


def written(path: Path, **changes: object) -> str:
    made(**changes).save(path)
    return str(path)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    rules = {2: replace(ddim_rule([40.0, 2.0, 0.002]), last=torch.ones(3, 2).double())}
    found = Calibration.load(
        Path(written(tmp_path / "a", rules=rules, kind="pca", edges=(1.0, 2.0)))
    )
    assert found.rules[2].last is not None
    assert torch.equal(found.rules[2].last, torch.ones(3, 2).double())
    assert torch.equal(found.rules[2].weights, rules[2].weights)
    assert (found.model, found.conditional, found.shape) == ("abc", False, (4,))
    assert found.facts == {"made": "here"}
    assert found.sigma_min == 0.002
    assert isinstance(found.bands, PcaBands)


def test_a_normal_law_flows_and_answers_as_the_gaussian_of_its_images() -> None:
    """All modes kept: exact. Fewer: the rest has one variance."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    images = images * torch.tensor([2.0, 0.5, 0.1]) + torch.tensor([1.0, 0.0, -1.0])
    y = 80 * torch.randn(7, 3, generator=generator, dtype=torch.float64)
    cov = torch.cov(images.T)
    variance, basis = torch.linalg.eigh(cov)
    exact = GaussianDenoiser(variance, images.mean(0), basis)
    levels = torch.tensor(80.0), torch.tensor(3.0)
    whole = Normal.of(images, 3)
    assert torch.allclose(whole.rows(y, None).flow(y, 80.0, 3.0), exact.flow(y, *levels), atol=1e-9)
    answer = (y - exact(y, torch.tensor(0.7).double())) / 0.7
    assert torch.allclose(whole.rows(y, None).residual(y, 0.7), answer, atol=1e-9)
    one = Normal.of(images, 1)
    assert len(one.variances) == 1
    assert one.rest == pytest.approx(float(variance[:2].mean()), rel=1e-9)
    assert one.modes.shape == (1, 3)
    assert one.scale == pytest.approx(float(variance[-1].sqrt()), rel=1e-9)
    assert Normal.of(images, 2).rest == pytest.approx(float(variance[0]), rel=1e-9)
    assert len(Normal.of(images[:4], 64).variances) == 2  # half of the images at most


def test_ddims_rule_is_ddim_after_a_gaussian_start(tmp_path: Path) -> None:
    """On any process, in float64, to rounding."""
    solver = Calibrated(written(tmp_path / "a"), allow_other_model=True)
    denoiser = GaussianDenoiser(VARIANCE)
    noise = Seeds().batch(range(5), (4,), torch.float64)
    y = 80 * noise.fresh()
    at = normal().rows(y, None).flow(y, 80.0, 40.0)
    exact = GaussianDenoiser(VARIANCE).flow(y, torch.tensor(80.0), torch.tensor(40.0))
    assert torch.allclose(at, exact, atol=1e-6)
    levels = solver.calibration.rules[4].levels
    expected = DDIM().solve(Ask(EDM(), denoiser), at, levels, noise)
    for sde in (EDM(), VP()):
        times = solver.grid.times(sde, 4)
        x = sde.alpha(times[0]) * y
        found = solver.solve(Ask(sde, denoiser), x, times, noise) / sde.alpha(times[-1])
        assert torch.allclose(found, expected, atol=1e-9)


def test_the_last_step_alone_has_a_row_for_each_band() -> None:
    """Twice the row in one band moves that part twice as far."""
    rule = ddim_rule([40.0, 2.0, 0.002])
    bands = PcaBands(torch.eye(4)[:2].double(), [1, 2])
    rows = rule.weights[-1] * torch.tensor([[1.0], [2.0], [1.0]]).double()
    banded = replace(rule, last=rows)
    y = torch.randn(3, 4, dtype=torch.float64)
    residuals = [torch.randn(3, 4, dtype=torch.float64) for _ in range(2)]
    seen = Residuals(tuple(residuals), (y, 2 * y))
    early = rule.advance(0, y, seen.first(1), None)
    assert torch.equal(banded.advance(0, y, seen.first(1), bands), early)
    move = rule.advance(1, y, seen, None) - y
    move[:, 1] *= 2
    assert torch.allclose(banded.advance(1, y, seen, bands), y + move, atol=1e-12)
    v = torch.tensor([[0.5, 0.0], [0.0, 0.25]]).double()
    both = replace(banded, normal=v).advance(1, y, seen, bands)
    assert torch.allclose(both, y + move + 0.25 * 2 * y, atol=1e-12)


def test_each_class_flows_about_its_own_mean() -> None:
    """About the mean of all where the condition is dropped; a class it does not know is refused."""
    law, y = of_classes(), torch.randn(3, 4, dtype=torch.float64)
    label = Condition.label([5, 3, -1])
    centre = torch.tensor([-2.0, 1.0, 0.0])[:, None].double()
    for name, args in (("flow", (80.0, 3.0)), ("residual", (0.7,))):
        found = getattr(law.rows(y, label), name)(y, *args)
        plain = getattr(normal().rows(y, None), name)(y - centre, *args)
        assert torch.allclose(found, plain + (centre if name == "flow" else 0), atol=1e-12)
    some, whole = law.rows(y, label)[1:3], law.rows(y, label)
    assert torch.equal(some.residual(y[1:3], 0.7), whole.residual(y, 0.7)[1:3])
    with pytest.raises(InputError, match=r"label=4: .*\[3, 5\]"):
        law.check(Condition.label([3, 4]))
    assert bool(law.rows(y, Condition.label([3, 4, -1])).centre.isnan().all(1)[1])


def test_a_rule_of_the_normal_laws_answers_alone_integrates_its_flow(tmp_path: Path) -> None:
    """W = 0 and V of DDIM: DDIM with the law's own denoiser, class by class."""
    plain = ddim_rule([40.0, 10.0, 2.5, 0.002])
    rule = replace(plain, weights=torch.zeros(3, 3).double(), normal=plain.weights)
    path = written(tmp_path / "a", rules={3: rule}, normal=of_classes(), conditional=True)
    law = Calibration.load(Path(path)).normal
    assert torch.equal(law.labels, torch.tensor([3, 5]))
    solver, cond = Calibrated(path, allow_other_model=True), Condition.label([5, 3])
    y = 80 * torch.randn(2, 4, dtype=torch.float64)
    asks = FunctionDenoiser(lambda x, sigma: 0 * x, (4,))
    noise = Seeds().batch(range(2), (4,), torch.float64)
    times = solver.grid.times(EDM(), 3)
    found = solver.solve(Ask(EDM(), asks, cond), y, times, noise)
    centre = torch.tensor([-2.0, 1.0])[:, None].double()
    own = GaussianDenoiser(VARIANCE)
    at = own.flow(y - centre, torch.tensor(80.0), torch.tensor(40.0))
    expected = centre + DDIM().solve(Ask(EDM(), own), at, plain.levels, noise)
    assert torch.allclose(found, expected, atol=1e-5)  # the file keeps the law in float32


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    """Without the answers of the normal law, and one mean for all classes."""
    path = Path(written(tmp_path / "a"))
    sealed = path.read_bytes()
    for number in (1, 2):
        path.write_bytes(sealed)
        unsealed(path, "sde_diffusion_calibration", {"format": number})
        old = Calibration.load(path)
        assert all(rule.normal is None for rule in old.rules.values())
        assert torch.equal(old.normal.modes, made().normal.modes)
    path.write_bytes(sealed)
    unsealed(path, "sde_diffusion_calibration", {"format": 3})
    with pytest.raises(InputError, match="format 3"):
        Calibration.load(path)


@pytest.mark.parametrize(
    "bands",
    [PcaBands(torch.linalg.qr(torch.randn(192, 9).double()).Q.T, [2, 5]),
     DctBands((3, 8, 8), (0.1, 0.4))],
)  # fmt: skip
def test_bands_are_orthogonal_parts_of_an_image(bands: PcaBands | DctBands) -> None:
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    parts = bands.split(x)
    assert len(parts) == bands.count == 3
    assert torch.allclose(sum(parts), x, atol=1e-12)  # type: ignore[arg-type]
    for i, a in enumerate(parts):
        assert float(a.norm()) > 0
        for b in parts[:i]:
            assert abs(float((a * b).sum())) < 1e-9
    assert torch.allclose(bands.split(parts[0])[0], parts[0], atol=1e-12)


def test_it_walks_its_own_grid_whatever_is_asked_for(tmp_path: Path) -> None:
    solver = Calibrated(written(tmp_path / "a"), allow_other_model=True)
    sampler = Sampler.build(EDM(), GaussianDenoiser(VARIANCE), solver, Karras())
    assert sampler.grid is solver.grid
    drawn = sampler.sample(Request(range(3), 4), Execution(dtype=torch.float64))
    assert drawn.nfe == 4
    for ask in (solver.steps, lambda n: sampler.sample(Request(range(3), n))):
        with pytest.raises(InputError, match=r"nfe=3: .*one of \[2, 4\]"):
            ask(3)
    x, times, noise = torch.zeros(1, 4).double(), Karras().times(EDM(), 4), Seeds().batch([0], (4,))
    with pytest.raises(InputError, match="walks its own"):
        solver.solve(Ask(EDM(), GaussianDenoiser(VARIANCE)), x, times, noise)


def test_a_solver_without_a_grid_needs_one() -> None:
    with pytest.raises(InputError, match="choose one, grid=karras"):
        Sampler.build(EDM(), GaussianDenoiser(VARIANCE), DDIM(), None)


def test_another_model_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    other = GaussianDenoiser(VARIANCE)
    with pytest.raises(InputError, match="made for model abc"):
        Sampler.build(EDM(), other, Calibrated(path), None)
    Sampler.build(EDM(), other, Calibrated(path, allow_other_model=True), None)
    unknown = Calibrated(written(tmp_path / "b", model=""))
    with pytest.raises(InputError, match="made for model"):
        Sampler.build(EDM(), other, unknown, None)
    wide = FunctionDenoiser(lambda x, sigma: x, (5,))
    with pytest.raises(InputError, match="shape"):
        Sampler.build(EDM(), wide, Calibrated(path, allow_other_model=True), None)


def test_another_condition_is_refused_unless_allowed(tmp_path: Path) -> None:
    class Named(GaussianDenoiser):
        @property
        def identity(self) -> str:
            return "abc"

    sampler = Sampler.build(EDM(), Named(VARIANCE), Calibrated(written(tmp_path / "a")), None)
    with pytest.raises(InputError, match="made with label=null"):
        sampler.sample(Request(range(2), 4, Condition.label([0, 1])))


def test_a_model_is_known_by_its_file_and_its_guidance() -> None:
    model = load("mnist")
    plain = model.denoiser.identity
    assert plain == model.fingerprint != ""
    guided = Guided(model.denoiser, ClassifierFree(2.0)).identity
    assert guided == f"{plain} cfg(2)"
    assert (
        Guided(Guided(model.denoiser, ClassifierFree(2.0)), Clip()).identity
        == f"{guided} clip(-1, 1)"
    )
    assert Recorder(model.denoiser, 2).identity == plain
    assert Guided(GaussianDenoiser(VARIANCE), ClassifierFree()).identity == ""


def test_a_file_that_is_torn_or_no_calibration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(InputError, match="no such file"):
        Calibrated(str(path))
    written(path)
    whole = path.read_bytes()
    (tmp_path / "torn").write_bytes(whole[:-20])
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    for name in ("torn", "other"):
        with pytest.raises(InputError, match=r"solver\.path=.*calibrat"):
            Calibrated(str(tmp_path / name))
    bent = [
        ({}, {"4.weights": torch.zeros(3, 3)}, "rule 4 is not of 4"),
        ({}, {"4.levels": torch.tensor([40.0, 10.0, 20.0, 1.0, 0.002])}, "do not fall"),
        ({}, {"4.asked": torch.tensor([40.0, 10.0, 2.5, -1.0])}, "do not fall"),
        ({}, {"4.weights": torch.full((4, 4), torch.nan)}, "rule 4 is not finite"),
        ({}, {"variances": torch.tensor([1.0, -0.25])}, "negative variance"),
        ({"rest": -0.01}, {}, "negative variance"),
        ({"rest": math.inf}, {}, "not finite"),
        ({"sigma_max": 1.0}, {}, "above sigma_max"),
        ({"rules": []}, {}, "no rules"),
        ({"kind": "stars"}, {}, "stars"),
        ({}, {"4.last": torch.ones(1, 4)}, "rule 4 has 1 bands"),  # of kind scalar: none
        ({"facts": 3}, {}, "int"),
    ]
    for facts, tensors, reason in bent:
        path.write_bytes(whole)
        resealed(path, facts, tensors)
        with pytest.raises(InputError, match=rf"solver\.path=.*{reason}.*sde-diffusion calibrate"):
            Calibrated(str(path))


def test_errors_stand_beside_the_best_standard_solver_of_the_same_calls() -> None:
    errors = {"joint": 0.02, "standard": {"ddim": 0.5, "unipc": 0.08}}
    (row,) = made(facts={"held_out": {"4": errors}}).errors
    assert row == {
        "calls": 4, "error": 0.02, "standard": "unipc", "standard_error": 0.08,
        "ratio": pytest.approx(0.25),
    }  # fmt: skip
    assert made().errors == []


def test_rings_hold_the_frequencies_of_both_sides() -> None:
    """The cosine of frequency k / n over rows, or over columns, is in the ring of k / n."""
    bands = DctBands((1, 8, 16), (0.1, 0.3))
    for k, ring in ((0, 0), (1, 1), (2, 1), (3, 2)):
        rows, columns = (
            torch.cos(torch.pi * k / 8 * (torch.arange(n, dtype=torch.float64) + 0.5) * 8 / n * f)
            for n, f in ((8, 1), (16, 2))
        )
        for x in (rows[:, None].expand(8, 16), columns.expand(8, 16)):
            norms = [float(part.norm()) for part in bands.split(x[None, None])]
            assert norms[ring] == pytest.approx(float(x.norm()), rel=1e-9)


def test_four_parts_of_leading_components() -> None:
    """Each holds the modes between its edges, the last one the rest."""
    modes = torch.linalg.qr(torch.randn(12, 9).double()).Q.T
    parts = PcaBands(modes, [2, 5, 9]).split(modes[[0, 3, 7]])
    for row, band in ((0, 0), (1, 1), (2, 2)):
        norms = [float(part[row].norm()) for part in parts]
        assert norms[band] == pytest.approx(1.0)
        assert sum(norms) == pytest.approx(1.0)
