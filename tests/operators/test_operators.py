"""Operators: adjoints by the dot product, spectra by their definition, formulas by twins."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sde_diffusion import operators
from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import LinearMap, Operator
from sde_diffusion.operators.spectrum import conjugate_gradients
from sde_diffusion.system.identity import TARGET

GREY, COLOUR = (1, 16, 16), (3, 16, 16)
LINEAR: dict[str, tuple[Operator, tuple[int, ...]]] = {
    "box": (operators.Box(0.4), COLOUR),
    "random": (operators.Random(0.3), COLOUR),
    "random vectors": (operators.Random(0.5), (7,)),
    "average": (operators.Downsample(4), COLOUR),
    "bicubic": (operators.Downsample(2, "bicubic"), GREY),
    "gaussian": (operators.GaussianBlur(1.5), GREY),
    "motion": (operators.MotionBlur(5.0, 30.0), COLOUR),
    "grey": (operators.Grey(), COLOUR),
    "cartesian": (operators.Cartesian(4.0), GREY),
    "radial": (operators.Radial(5), (1, 16, 20)),
    "parallel": (operators.ParallelBeam(6), GREY),
    "limited angle": (operators.ParallelBeam(6, 90.0), GREY),
    "fan": (operators.FanBeam(6), GREY),
    "rays of colours": (operators.ParallelBeam(6), COLOUR),
    "matrix": (operators.Matrix([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]), (3,)),
    "composed": (operators.Composed([operators.MotionBlur(3.0), operators.Downsample(2)]), GREY),
    "function": (operators.Function(lambda x: x.flip(-1) - 2 * x), GREY),
}
each_linear = pytest.mark.parametrize("name", LINEAR)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def made(name: str) -> LinearMap:
    operator, shape = LINEAR[name]
    found = operator.at(shape)
    assert isinstance(found, LinearMap)
    return found


@each_linear
def test_the_adjoint_is_the_adjoint(name: str) -> None:
    a = made(name)
    x, y = normal(3, *a.shape), a.filled(normal(3, *a.out, seed=1))
    left, right = a.forward(x) * y, x * a.adjoint(y)
    assert a.forward(x).shape == (3, *a.out)
    assert torch.allclose(left.flatten(1).sum(1), right.flatten(1).sum(1), rtol=1e-12, atol=1e-12)


@each_linear
def test_the_spectrum_is_a_spectrum(name: str) -> None:
    """V^T V = 1, and on V's columns A is U diag(s); the values are those of the matrix itself."""
    a = made(name)
    s = a.spectrum()
    dim = math.prod(a.shape)
    dense = a.forward(torch.eye(dim, dtype=torch.float64).reshape(dim, *a.shape)).flatten(1).T
    values = s.values.flatten()
    z = normal(2, *s.values.shape)
    assert torch.allclose(s.analysis(s.synthesis(z)), z, atol=1e-9)
    x = normal(2, *a.shape)
    assert torch.allclose(s.data(a.forward(x)), s.values * s.analysis(x), atol=1e-9)
    # Without the directions that are cut, A is U S V^T: A^T A x = V S U^T A x.
    again = s.synthesis(s.values * s.data(a.forward(x)))
    largest = float(values.max()) ** 2
    assert torch.allclose(again, a.adjoint(a.forward(x)), atol=1e-6 * max(1.0, largest))
    exact = torch.linalg.svdvals(dense)
    count = int((values > 0).sum())
    found = values.sort(descending=True).values[:count]
    assert torch.allclose(found, exact[:count], rtol=1e-6, atol=1e-9)
    assert 0.95 * float(exact[0]) < a.norm() < 1.001 * float(exact[0])


@each_linear
def test_pull_is_the_regularised_inverse(name: str) -> None:
    a = made(name)
    dim = math.prod(a.shape)
    dense = a.forward(torch.eye(dim, dtype=torch.float64).reshape(dim, *a.shape)).flatten(1).T
    r = a.filled(normal(2, *a.out))
    c, d = 0.7, 0.2
    system = c * dense @ dense.T + d * torch.eye(len(dense), dtype=torch.float64)
    expected = (dense.T @ torch.linalg.solve(system, r.flatten(1).T)).T.reshape(2, *a.shape)
    # Singular values below 1e-4 of the largest are cut: s / d of the residual is lost at most.
    assert torch.allclose(a.pull(r, c, d), expected, atol=3e-3)
    u = conjugate_gradients(
        lambda v: c * a.filled(a.forward(a.adjoint(v))) + d * v, r, iterations=400
    )
    assert torch.allclose(a.adjoint(u), expected, atol=1e-6)


@each_linear
def test_float32_is_float64_to_its_rounding(name: str) -> None:
    a = made(name)
    x = normal(2, *a.shape)
    assert a.forward(x.float()).dtype == torch.float32
    assert torch.allclose(a.forward(x.float()).double(), a.forward(x), atol=1e-5)


def test_every_choice_measures() -> None:
    """Each yaml by its name, a picture or a vector in, gradients back."""
    for name in groups.names("operator"):
        operator = groups.make("operator", name)
        shape = {"matrix": (2,), "grey": COLOUR}.get(name, GREY)
        x = normal(2, *shape).requires_grad_()
        aside = {"mask": torch.ones(2, *shape)} if name == "mask" else {}
        y = operator.at(shape, aside).forward(x)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        assert bool(gradient.isfinite().all()), name
        assert float(gradient.abs().max()) > 0, name


def test_measured_noise_has_its_level_and_a_true_picture_the_misfit_one() -> None:
    for name in ("box", "parallel", "cartesian"):
        operator, shape = LINEAR[name]
        x = normal(50, *shape)
        y = operator.measure(x, normal(50, *operator.at(shape).out, seed=2))
        # About 200 to 10,000 numbers a row, 50 rows: its mean has an error of .009 at most.
        assert float(operator.misfit(x, y).mean()) == pytest.approx(1, abs=0.03)
        assert float(operator.misfit(x, operator.measure(x)).max()) < 1e-9


def test_a_mask_rides_with_its_rows() -> None:
    mask = (normal(4, 1, 8, 8) > 0).double()
    x = normal(4, 1, 8, 8, seed=1)
    y = operators.Mask().measure(x, mask=mask)
    assert torch.equal(y, mask * x)
    some = operators.Mask().at((1, 8, 8), {"mask": mask[1:3]})
    assert torch.equal(some.forward(x[1:3]), y[1:3])


def test_formulas() -> None:
    x = normal(2, 3, 16, 16)
    average = operators.Downsample(4).measure(x)
    assert torch.allclose(average, torch.nn.functional.avg_pool2d(x, 4))
    grey = operators.Grey().measure(x)
    assert torch.allclose(grey[:, 0], 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])
    flat = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    for blur in (operators.GaussianBlur(2.0), operators.MotionBlur(), operators.Downsample(2)):
        assert torch.allclose(blur.measure(flat), torch.ones((), dtype=torch.float64))
    # The integral over a ray through the middle of a side of length one is one, and a disc's
    # projection is its chord.
    beam = operators.ParallelBeam(8).measure(torch.ones(1, 1, 64, 64, dtype=torch.float64))[0]
    assert float(beam[0, beam.shape[1] // 2]) == pytest.approx(1, abs=0.02)
    axis = (torch.arange(64, dtype=torch.float64) + 0.5) / 64 - 0.5
    disc = ((axis[:, None] ** 2 + axis**2) < 0.3**2).double()[None, None]
    parallel = operators.ParallelBeam(8).measure(disc)[0]
    bins = parallel.shape[1]
    offset = ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins - 0.5) * math.sqrt(2)
    chord = 2 * (0.3**2 - offset**2).clamp_min(0).sqrt()
    assert float((parallel - chord).abs().mean()) < 0.01
    fan = operators.FanBeam(8, distance=2.0).measure(disc)[0]
    angle = ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins * 2 - 1) * math.asin(
        0.5**0.5 / 2
    )
    chord = 2 * (0.3**2 - (2 * angle.sin()) ** 2).clamp_min(0).sqrt()
    assert float((fan - chord).abs().mean()) < 0.01


def test_fourier_masks_measure_the_share_they_say() -> None:
    for n in (28, 64):
        share = operators.Cartesian(4.0).mask(n, n).mean()
        assert float(share) == pytest.approx(0.25, abs=1.5 / n)
        assert float(operators.Cartesian(4.0).mask(n, n)[0, n // 2]) == 1
        assert 0.1 < float(operators.Radial(16).mask(n, n).mean()) < 0.7


def test_quantise_is_a_rounding_of_a_rounding() -> None:
    x = normal(2, 1, 16, 16).clamp(-1, 1)
    operator = operators.Quantise(10)
    once = operator.measure(x)
    assert float((once - x).abs().max()) > 0.05
    assert torch.allclose(operator.measure(once), once, atol=1e-9)
    # Quality 100 has steps of one grey level: coefficients within 1/2, pixels within a few.
    assert float((operators.Quantise(100).measure(x) - x).abs().max()) < 4 / 127.5


def test_phase_retrieval_loses_sign_and_turn() -> None:
    x = normal(2, 1, 8, 8)
    operator = operators.PhaseRetrieval()
    y = operator.measure(x)
    assert torch.allclose(operator.measure(-x), y)
    assert torch.allclose(operator.measure(x.flip(-1, -2)), y)
    assert not torch.allclose(operator.measure(x.flip(-1)), y)
    # Parseval: all the energy is measured.
    assert torch.allclose(y.square().sum(), x.square().sum())


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (lambda: operators.Box(1.5), r"operator\.share=1\.5"),
        (lambda: operators.Box(noise=-1.0), r"operator\.noise=-1\.0: give a standard"),
        (lambda: operators.Box(noise=1e308), r"operator\.noise=1e\+308: give a standard"),
        (lambda: operators.Box(noise=5e-324), r"operator\.noise=5e-324: give a standard"),
        (lambda: operators.Box(noise=float("nan")), r"operator\.noise=nan: give a finite"),
        (lambda: operators.Radial(2**31), r"operator\.spokes=2147483648: give a whole"),
        (lambda: operators.ParallelBeam(10**9), r"operator\.views=1000000000: give a whole"),
        (lambda: operators.ParallelBeam(10_000).at((1, 4096, 4096)), r"operator\.views=10000: of"),
        (lambda: operators.FanBeam(distance=1e308), r"operator\.distance=1e\+308"),
        (lambda: operators.Random(0.0), r"operator\.share=0\.0"),
        (lambda: operators.Downsample(3).at(GREY), r"operator\.factor=3: 16 x 16 pixels"),
        (lambda: operators.Downsample(1), r"operator\.factor=1"),
        (lambda: operators.Downsample(method="area"), r"operator\.method=area: choose average"),
        (lambda: operators.GaussianBlur(0.0), r"operator\.width=0\.0"),
        (lambda: operators.MotionBlur(-1.0), r"operator\.length=-1\.0"),
        (lambda: operators.Grey().at(GREY), r"operator=grey: needs pictures of 3 channels"),
        (lambda: operators.GaussianBlur().at((2,)), r"operator=gaussian_blur: measures pictures"),
        (lambda: operators.Cartesian(1.0), r"operator\.acceleration=1\.0"),
        (lambda: operators.Radial(0), r"operator\.spokes=0"),
        (lambda: operators.ParallelBeam(0), r"operator\.views=0"),
        (lambda: operators.ParallelBeam(arc=270.0), r"operator\.arc=270\.0: give degrees"),
        (lambda: operators.ParallelBeam().at((1, 16, 12)), r"operator: rays need square pictures"),
        (lambda: operators.FanBeam(distance=0.5), r"operator\.distance=0\.5"),
        (lambda: operators.Matrix([[1.0], [1.0, 2.0]]), r"operator\.rows: give rows of one"),
        (lambda: operators.Matrix().at(GREY), r"operator\.rows: 2 numbers a row"),
        (lambda: operators.Quantise(0), r"operator\.quality=0"),
        (lambda: operators.Quantise().at((1, 28, 28)), r"operator=quantise: 28 x 28 pixels"),
        (lambda: operators.PhaseRetrieval(0.5), r"operator\.oversampling=0\.5"),
        (lambda: operators.Composed([]), r"operator\.parts: give one"),
        (lambda: operators.Mask().at(GREY), r"operator=mask: no mask"),
        (lambda: operators.Function(torch.abs).at(GREY), r"operator\.function: A\(2 a - 3 b\)"),
        (lambda: operators.Function(lambda x: 2 * x, lambda y: 3 * y).at(GREY),
         r"operator\.adjoint: <A x, y>"),
        (lambda: operators.Mask().at(GREY, {"mask": torch.ones(1, 1, 3, 3)}), r"mask: its shape"),
    ],
)  # fmt: skip
def test_wrong_operators_are_refused_by_name(case: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        case()  # type: ignore[operator]


HOSTILE = [
    math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-308, 5e-324, 0, -1, 1.5, 101, 2**31, 2**64,
    10**30, 10**400, "text", "0.5", [1], [], [[]], {"a": 1}, None, True, b"x",
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in groups.names("operator") if name != "composed"])
def test_hostile_fields_are_one_line_or_a_finite_measurement(name: str) -> None:
    shape = {"matrix": (2,), "grey": (3, 8, 8)}.get(name, (1, 8, 8))
    x = normal(2, *shape)
    for field in groups.node("operator", name).keys() - {TARGET}:
        for value in HOSTILE:
            line = ""
            try:
                operator = groups.resolve("operator", {name: {field: value}})
                aside = {word: torch.ones(2, *shape) for word in operator.needs}
                y = operator.measure(x, None, **aside)
                good = y.isfinite().all() and operator.misfit(x, y, **aside).isfinite().all()
            except InputError as error:
                line = str(error)
                good = line.startswith("operator") and "\n" not in line
            assert good, (field, value, line)


@pytest.mark.parametrize("operator", [operators.Box(), operators.Box(0.9), operators.Mask()])
def test_where_nothing_is_measured_nothing_is_missed(operator: Operator) -> None:
    """Of one pixel, or of a mask over all: 0 / 0 in the twin."""
    x, aside = normal(3, 1, 1, 1), {}
    if operator.needs:
        aside = {"mask": torch.zeros(3, 1, 1, 1)}
    assert operator.misfit(x, operator.measure(x, **aside), **aside).tolist() == [0.0] * 3
