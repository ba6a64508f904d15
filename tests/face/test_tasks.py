"""What the command line can, Python can: the same numbers, from objects and of any callable."""

from __future__ import annotations

import csv
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sde_diffusion import (
    EDM,
    Calibrated,
    ClassifierFree,
    Digits,
    Heun,
    Karras,
    PixelExtractor,
    Searched,
    Toy,
    UniPC,
    analyse,
    compare,
    evaluate,
    exact_error,
    load,
    wrap,
)
from sde_diffusion.config.compose import compose_task
from sde_diffusion.data.splits import fixed_order
from sde_diffusion.errors import InputError
from sde_diffusion.face.calibrate import calibrate
from sde_diffusion.face.model import Model
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.tasks.likelihood import errors, summary
from tests.calibration.conftest import mixture
from tests.conftest import Run
from tests.refusals import refused

GREY = torch.randint(
    0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
NAN = float("nan")
SMALL: dict[str, Any] = {"noises": 8, "held_out": 4, "budget": 4, "tries": 4, "progress": False}


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, I)."""
    return x / (1 + sigma**2)


TOY = wrap(gaussian, (1, 8, 8), name="toy")


@pytest.fixture(scope="module")
def cloud() -> Model:
    """Three unlike components in four dimensions, as a function."""
    truth = mixture()
    return wrap(lambda x, sigma: truth(x, sigma.as_subclass(Tensor)), (4,), name="cloud")


def test_rules_are_those_of_the_command(quick_cli: Run, tmp_path: Path, tiny_model: str) -> None:
    words = ["noises=8", "held_out=4", "budget=4", "nodes=8", "tries=4"]
    quick_cli("calibrate", f"checkpoint={tiny_model}", "nfe=[4]", "guidance=[cfg]", *words,
              "hydra.run.dir=out")  # fmt: skip
    command = Calibrated(str(tmp_path / "out" / "calibration.safetensors")).calibration
    made = load(tiny_model).calibrate([4], guidance=ClassifierFree(), nodes=8, **SMALL).calibration
    assert made.model == command.model
    assert made.conditional == command.conditional
    for mine, other in zip(made._tensors().items(), command._tensors().items(), strict=True):
        assert mine[0] == other[0]
        assert torch.equal(mine[1], other[1])
    assert made.errors == command.errors


def test_a_callable_is_calibrated_and_its_rule_beats_the_standard_solvers(
    cloud: Model, tmp_path: Path
) -> None:
    rule = cloud.calibrate(nfe=[3, 4], noises=64, held_out=32, tries=12, progress=False)
    assert [row["calls"] for row in rule.errors] == [3, 4]
    assert all(row["ratio"] < 1 for row in rule.errors)
    drawn = cloud.sample(n=50, nfe=3, solver=rule, seed=5)
    assert drawn.nfe == 3
    exact = cloud.sample(n=50, nfe=128, solver=UniPC(order=3), grid="vptime", seed=5).x
    standard = cloud.sample(n=50, nfe=3, seed=5).x
    assert (drawn.x - exact).norm() < (standard - exact).norm()
    rule.save(tmp_path / "rule.safetensors")
    again = cloud.sample(n=50, nfe=3, solver=Calibrated(str(tmp_path / "rule.safetensors")), seed=5)
    assert torch.equal(again.x, drawn.x)
    assert repr(rule) == f"Calibrated(path={rule.calibration}, allow_other_model=False)"


def test_a_rule_is_for_its_model_and_guidance(cloud: Model) -> None:
    rule = cloud.calibrate(nfe=3, **SMALL)
    other = wrap(lambda x, sigma: x / (1 + sigma.as_subclass(Tensor)[:, None] ** 2), (4,))
    with refused("solver: made for model function-", "RULES.changed(allow_other_model=True)"):
        other.sample(n=2, nfe=3, solver=rule)
    other.sample(n=2, nfe=3, solver=rule.changed(allow_other_model=True))
    with pytest.raises(InputError, match=r"give one of \[3\]"):
        cloud.sample(n=2, nfe=4, solver=rule)


def test_rules_are_compared(cloud: Model) -> None:
    images = wrap(gaussian, (1, 8, 8))
    rule = images.calibrate(nfe=[4], **SMALL)
    results = compare(images, [rule, "unipc"], nfe=4, n=20, reference=GREY, metrics=(),
                      progress=False)  # fmt: skip
    assert [row["solver"] for row in results] == ["calibrated", "unipc"]


def test_unfinished_rules_are_gone_on_with(tiny_model: str, tmp_path: Path) -> None:
    def made() -> list[dict[str, Any]]:
        return load(tiny_model).calibrate(3, folder=tmp_path / "out", nodes=8, **SMALL).errors

    first = made()
    parts = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").iterdir()}
    assert made() == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").iterdir()} == parts
    load(tiny_model).calibrate(3, folder=tmp_path / "out", nodes=8, **{**SMALL, "budget": 3})
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 2 * len(parts)


def test_a_network_of_ones_own_stays_as_it_was() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            return x / (1 + sigma[:, None] ** 2) + 0.01 * self.linear(x)

    net = Net()
    wrap(net, (4,)).calibrate(3, **SMALL)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_a_twin_of_the_data_stands_for_the_network(tiny_model: str) -> None:
    model = load(tiny_model)
    rule = model.calibrate(4, twin=2, data=Digits(), **SMALL)
    assert model.sample(n=3, nfe=4, solver=rule, label="all").nfe == 4
    with refused("data", "(1, 8, 8)", "(4,)"):
        wrap(gaussian, (4,)).calibrate(4, twin=2, data=Digits(), **SMALL)


def test_bits_a_dimension_are_those_of_the_command(
    quick_cli: Run, tmp_path: Path, tiny_model: str
) -> None:
    quick_cli("likelihood", f"checkpoint={tiny_model}", "data=digits", "n=3", "error=0.1",
              "probes=2", "hydra.run.dir=out")  # fmt: skip
    with (tmp_path / "out" / "bits_per_dim.csv").open() as file:
        command = [float(row["bits_per_dim"]) for row in csv.DictReader(file)]
    data = Digits(split="test").load()
    bits = load(tiny_model).likelihood(
        data[fixed_order(len(data.images))[:3]],
        moments_of=Digits(),
        error=0.1,
        probes=2,
        batch_size=2,
    )
    assert [row["bits_per_dim"] for row in bits] == pytest.approx(command, abs=2e-6)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert bits.mean == float(bits) == pytest.approx(result["bits_per_dim"])
    assert bits.standard_error == pytest.approx(result["standard_error"])


def test_bits_of_a_gaussian_are_known() -> None:
    """-log2 of N(0, 1 + sigma_min^2) at the dequantised pixels: within the error asked for."""
    bits = TOY.likelihood(GREY[:4], probes=None, error=1e-3)
    x = GREY[:4].double().flatten(1) / 127.5 - 1
    expected = (0.5 * x.square().mean(1) + 0.5 * np.log(2 * np.pi)) / np.log(2) + 7
    # The dequantisation moves a pixel by half a grey level, 1/256: 64 of them by about 1e-3.
    assert [row["bits_per_dim"] for row in bits] == pytest.approx(expected.tolist(), abs=5e-3)
    assert str(bits).startswith("4 images: 8.")


def test_what_has_no_error_says_none() -> None:
    bits, unknown, known = torch.full((1,), 2.0), torch.full((1,), NAN), torch.full((1,), 0.1)
    assert summary(errors(bits, unknown), 1) == "1 image: 2.0000 bits/dim"
    said = summary(errors(bits, known), 1)
    assert said == "1 image: 2.0000 bits/dim (standard error of the probes 0.1000)"
    assert "+- " in summary(errors(torch.tensor([2.0, 3.0]), known.expand(2)), 2)


def test_distances_are_those_of_the_command(quick_cli: Run, tmp_path: Path) -> None:
    drawn = load("mnist").sample(n=30, nfe=4, label="all")
    pixels = drawn.images.permute(0, 2, 3, 1).numpy()
    np.savez(
        tmp_path / "x.npz", images=pixels, labels=drawn.labels, seeds=drawn.seeds, noise_version=2
    )
    quick_cli("evaluate", f"images={tmp_path / 'x.npz'}", "samples=[20,30]", "hydra.run.dir=out")
    command = json.loads((tmp_path / "out" / "result.json").read_text())
    found = evaluate(drawn, n=[20, 30])
    # A file's images lie in another order in memory, and a convolution rounds by it.
    for row, other in zip(found, command["rows"], strict=True):
        assert list(row) == list(other)
        for name, value in row.items():
            exact = not isinstance(value, float)
            assert value == (other[name] if exact else pytest.approx(other[name], rel=1e-4)), name
    assert [row["fd"] for row in found.floors] == [row["fd"] for row in command["floors"]]
    assert repr(found).startswith("Evaluation(FD[mnist-cnn] ")
    assert found._repr_html_().count("<tr>") == 3


def test_grey_images_are_seen_as_a_reference_of_three_channels_is(
    quick_cli: Run, tmp_path: Path
) -> None:
    """Whether it is images, an object or a file, here and by the command."""
    coloured = (255 - GREY).expand(-1, 3, -1, -1)
    for name, x in (("grey", GREY), ("coloured", coloured)):
        np.savez(tmp_path / f"{name}.npz", images=x.permute(0, 2, 3, 1).numpy())
    held = ReferenceSet.of(PixelExtractor(4, 3, 8, 8), ImageSet(coloured, None, 0, "coloured"))
    held.save(tmp_path / "coloured.safetensors")
    named = [tmp_path / "coloured.npz", tmp_path / "coloured.safetensors"]
    found = [
        evaluate(GREY, reference, extractor="pixel", metrics=())[-1]["fd"]
        for reference in (coloured, held, *named)
    ]
    for reference in named:
        quick_cli("evaluate", "hydra.run.dir=out", "images=grey.npz", f"reference={reference}",
                  "extractor=pixel", "metric=[]")  # fmt: skip
        result = json.loads((tmp_path / "out" / "result.json").read_text())
        found.append(result["rows"][-1]["fd"])
    assert found == pytest.approx([found[0]] * 6, rel=1e-9)


def test_a_set_judged_by_itself_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    for reference, times in ((GREY, 1), (GREY.expand(-1, 3, -1, -1), 1), (255 - GREY, 0)):
        found = evaluate(GREY, reference, extractor="pixel", metrics=())
        assert capsys.readouterr().err.count("these are the images of the reference") == times
        assert (abs(found[-1]["fd"]) < 1e-9) == bool(times)


def test_copies_are_seen() -> None:
    data = Digits()
    known = data.load().images[:60]
    held_out = Digits(split="test")
    found = evaluate(known[:20], reference=Digits(), train=known)
    assert found.memorisation is not None
    assert found.memorisation.ratio == 0
    assert found.nearest is not None
    assert "nearest training image" in str(found)
    fresh = evaluate(held_out.load().images[:20], reference=Digits(), train=known)
    assert fresh.memorisation is not None
    assert fresh.memorisation.ratio > 0.5


def test_exact_errors_are_those_of_the_command(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli("analyse", "solvers=[ddim,heun]", "grids=[default,searched]", "nfe=[4,5]",
              "hydra.run.dir=out")  # fmt: skip
    command = json.loads((tmp_path / "out" / "analyse.json").read_text())["rows"]
    found = analyse(Digits(), [4, 5], solvers=["ddim", Heun()], grids=["default", "searched"])
    keys = ("solver", "grid", "nfe", "steps")
    assert [[row[key] for key in keys] for row in found] == [
        [r[key] for key in keys] for r in command
    ]
    errors = [row["error"] for row in command]
    # The command's searched grid reads the spectrum from its file, in float64 too.
    assert [row["error"] for row in found] == pytest.approx(errors, rel=1e-9)
    own = Searched(spectrum=found.spectrum)
    (row,) = analyse(found.spectrum, 4, solvers="ddim", grids=[own])
    assert row["grid"] == "searched"
    assert row["command"] is None  # what is in memory cannot be typed
    assert found.best[4]["error"] == min(row["error"] for row in found if row["nfe"] == 4)
    assert "NFE 5" in str(found)
    assert found.to_markdown().startswith("| solver | grid | NFE 4 | NFE 5 |")
    assert "<img" in found._repr_html_()


def test_whatever_has_a_covariance_is_analysed(tmp_path: Path) -> None:
    x = Toy(n=300).load().images
    few: dict[str, Any] = {"nfe": 6, "solvers": [UniPC()], "grids": [Karras()]}
    expected = exact_error(UniPC(), 6, torch.cov(x.double().T), x.double().mean(0), grid=Karras())
    for data in (Toy(n=300), x, x.numpy()):
        assert analyse(data, **few)[0]["error"] == pytest.approx(expected, rel=1e-6)
    drawn = wrap(gaussian, (2,)).sample(n=30, nfe=4)
    assert len(analyse(drawn, **few)) == 1
    pixels = analyse(GREY, **few)[0]["error"]
    floats = GREY.double() / 127.5 - 1
    np.savez(tmp_path / "x.npz", images=GREY.permute(0, 2, 3, 1).numpy())
    for data in (floats, floats.numpy(), tmp_path / "x.npz"):
        assert analyse(data, **few)[0]["error"] == pytest.approx(pixels, rel=1e-6)


def test_a_model_is_analysed_by_what_it_draws() -> None:
    found = TOY.analyse(nfe=[4, 6], n=80, solvers=["ddim", "unipc"], grids=["vptime"])
    # N(0, I) in 64 dimensions, 80 images: eigenvalues about 1, from .01 to 4.
    assert float(found.spectrum.variance.sum()) == pytest.approx(64, rel=0.1)
    assert found.best[6]["error"] < found.best[4]["error"]
    narrow = wrap(gaussian, (1, 8, 8), sigma_min=0.01, sigma_max=20)
    assert len(narrow.analyse(nfe=4, n=20, solvers="ddim", grids=["vptime"])) == 1


def test_exact_errors_of_several_budgets() -> None:
    covariance = np.diag([1.0, 0.1, 0.01])
    found = exact_error("unipc", [5, 10], covariance)
    assert found == {n: exact_error(UniPC(), n, torch.from_numpy(covariance)) for n in (5, 10)}
    assert exact_error("unipc", np.array([5, 10]), [1.0, 0.1, 0.01]) == pytest.approx(found)
    assert exact_error("ddim", 3, covariance, sde=EDM(), grid=[80, 10, 1, 0.1]) > 0


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: TOY.calibrate(1), "nfe=1: give numbers of evaluations from 2 to 64"),
        (lambda: TOY.calibrate([]), "nfe=[]: give at least one"),
        (lambda: TOY.calibrate("4"), "nfe='4': give a whole number"),
        (lambda: TOY.calibrate(4, noises=2), "noises=2"),
        (lambda: TOY.calibrate(4, budget=1.5), "budget=1.5: give a whole number"),
        (lambda: TOY.calibrate(4, data=GREY), "data: read only for a twin; give twin=4"),
        (lambda: TOY.calibrate(4, twin=4), "data: a NoneType; give"),
        (lambda: TOY.calibrate(4, labl=3), "labl: unknown keyword; did you mean label?"),
        (lambda: TOY.calibrate(4, sigma_min=1e-5), "sigma_min=1e-05"),
        (lambda: TOY.calibrate(4, sigma_max=float("nan")), "sigma_max=nan: give a finite number"),
        (lambda: TOY.calibrate(4, folder=""), "folder='': give a path"),
        (lambda: wrap(lambda x, s: x * NAN, (1, 8, 8)).calibrate(4, **SMALL),
         "model: 12 of 12 converged images hold values that are not finite"),
        (lambda: Calibrated().save(""), "path='': give a path"),
        (lambda: TOY.likelihood(GREY[:2], label=3), "label=3: model toy takes no label"),
        (lambda: TOY.likelihood(GREY[:2], error=2), "error=2.0: give a number of bits"),
        (lambda: TOY.likelihood(GREY[:2], probes=0), "probes=0: give a whole number >= 1"),
        (lambda: TOY.likelihood(GREY[:2], guidance="clip"), "guidance: clipped"),
        (lambda: TOY.likelihood(GREY[:, :, :4]), "images: images (1, 4, 8) are not the model's"),
        (lambda: TOY.likelihood(GREY, moments_of=GREY[:, :, :4]), "moments_of: images (1, 4, 8)"),
        (lambda: wrap(lambda x, s: gaussian(x, s).detach(), (1, 8, 8)).likelihood(GREY[:1]),
         "model: its answer carries no gradient"),
        (lambda: load("mnist").likelihood(np.zeros((1, 1, 28, 28), "uint8")),
         "label=all: no labels in images"),
        (lambda: evaluate(GREY), "reference: none is shipped"),
        (lambda: evaluate(GREY, GREY, 500), "n=[500]: give numbers from 2 to the 40 images"),
        (lambda: evaluate(GREY, GREY, train=GREY), "train: reference"),
        (lambda: evaluate(GREY, GREY, metrics=["kidd"]), "metrics=kidd: no such choice"),
        (lambda: evaluate(""), "images: an empty path"),
        (lambda: evaluate(TOY, GREY), "images: a Model; give samples"),
        (lambda: evaluate(GREY[:1], GREY), "images: 1 of them; give at least 2"),
        (lambda: analyse(TOY), "data: a model; give what it draws: model.analyse(nfe="),
        (lambda: analyse(GREY, solvers="dopri"), "solvers: dopri is no linear map"),
        (lambda: analyse(GREY, solvers=UniPC), "solvers: UniPC: a class; give an object, UniPC()"),
        (lambda: analyse(GREY, solvers=[]), "solvers=[]: give at least one"),
        (lambda: analyse(GREY, modes="svd"), "modes=svd: choose one of"),
        (lambda: analyse(torch.full((4, 2), float("nan"))), "data: has values that are not finite"),
        (lambda: analyse(GREY, sigma_min=9, sigma_max=1), "sigma_min=9.0: give 0 < sigma_min"),
        (lambda: analyse(GREY, sde="ve", sde__sigma_max=10.0), "sigma_max=80.0:"),
        (lambda: exact_error("unipc", [], np.eye(2)), "nfe=[]: give at least one"),
        (lambda: exact_error("unipc", 5, "a"), "covariance: a str; give a covariance [d, d]"),
        (lambda: exact_error("unipc", 5, np.eye(2), np.zeros(3)), "mean=(3,): give a tensor [2]"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_line(call: Callable[[], object], line: str) -> None:
    with pytest.raises(InputError) as refused:
        call()
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_result_is_a_table_and_files(tmp_path: Path) -> None:
    """Of distances, likelihoods and exact errors as of a comparison: Markdown, LaTeX, a folder."""
    judged = evaluate(GREY[:30], GREY[10:], n=[10, 20], extractor="pixel", metrics=())
    bits = TOY.likelihood(GREY[:2], error=0.1)
    exact = analyse(
        GREY.float()[:, 0, 0] / 255, [4, 8], solvers=["ddim", "unipc"], grids=["karras"]
    )
    for stem, result, first in (
        ("evaluation", judged, "samples"),
        ("likelihood", bits, "image"),
        ("analyse", exact, "solver"),
    ):
        head, rule, *lines = result.to_markdown().splitlines()
        assert head.startswith(f"| {first} |")
        assert set(rule) == set("| -:") or set(rule) == set("| -")
        assert len(lines) == 2
        assert all(line.count("|") == head.count("|") for line in lines)
        latex = result.to_latex(tmp_path / "a.tex")
        assert (tmp_path / "a.tex").read_text() == latex
        assert latex.count(r" \\") == 3
        assert {line.count("&") for line in latex.splitlines() if line.endswith(r"\\")} == {
            head.count("|") - 2
        }
        folder = result.save(tmp_path / stem)
        assert (folder / f"{stem}.csv").read_text() == result.to_csv()
        assert (folder / f"{stem}.md").read_text() == result.to_markdown()
    assert (tmp_path / "analyse" / "analyse.png").read_bytes().startswith(b"\x89PNG")
    assert f"{judged[1]['fd']:.4g}" in judged.to_latex()


def test_the_command_and_python_have_the_same_defaults() -> None:
    task = compose_task(["task=calibrate"])
    defaults = {name: p.default for name, p in inspect.signature(calibrate).parameters.items()}
    both = set(task) & set(defaults) - {"data", "guidance", "sigma_min", "sigma_max", "nfe"}
    assert both >= {"noises", "held_out", "tries", "nodes", "budget", "seed", "mode", "label"}
    for name in both:
        assert defaults[name] == task[name], name
    assert list(defaults["nfe"]) == list(task.nfe)
