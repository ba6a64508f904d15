"""A comparison from Python: the command's numbers, from objects, of any callable, for any page."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sde_diffusion import (
    DDIM,
    Clip,
    Heun,
    Karras,
    PixelExtractor,
    Results,
    UniPC,
    compare,
    load,
    wrap,
)
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.step import Ask, Step
from tests.conftest import Run
from tests.refusals import refused

SHAPE = (1, 8, 8)
PIXELS = torch.randint(
    0, 256, (60, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
QUIET: dict[str, Any] = {"reference": PIXELS, "metrics": (), "progress": False}


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, I)."""
    return x / (1 + sigma**2)


TOY = wrap(gaussian, SHAPE, name="toy")


def small(**more: Any) -> Results:
    return compare(TOY, **{"solvers": ["ddim", Heun()], "nfe": [4], "n": 20, **QUIET, **more})


@pytest.fixture(scope="module")
def many() -> Results:
    """Enough images for bias-removed values and a ranking."""
    solvers = ["ddim", UniPC(order=3), {"u_1": {"unipc": {"order": 1}}}]
    return compare(TOY, solvers, [4, 6], [20, 340], **{**QUIET, "reference": more_pixels()})


def more_pixels() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (400, *SHAPE), dtype=torch.uint8, generator=generator)


COLOURED = wrap(gaussian, (3, 8, 8), name="coloured")


@pytest.mark.parametrize("kind", ["file", "tensor", "set"])
def test_a_grey_reference_is_brought_to_the_channels_of_the_model(
    tmp_path: Path, kind: str
) -> None:
    """As by the command: the numbers are those of the same pictures in three channels."""
    np.savez(tmp_path / "grey.npz", images=PIXELS.permute(0, 2, 3, 1).numpy())
    grey = {"file": tmp_path / "grey.npz", "tensor": PIXELS, "set": ImageSet(PIXELS, None, 0, "a")}
    words = {"extractor": "pixel", "metrics": (), "progress": False}
    found = [
        compare(COLOURED, ["ddim"], 2, 20, reference=reference, **words)[0]["fd"]
        for reference in (grey[kind], PIXELS.expand(-1, 3, -1, -1))
    ]
    assert found[0] == found[1]


def test_a_reference_of_other_channels_or_size_is_refused_with_what_to_give() -> None:
    with refused("reference=", "3 channels", "give grey images"):
        small(reference=torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8))
    held = ReferenceSet.of(PixelExtractor(4, 3, 8, 8), ImageSet(PIXELS.expand(-1, 3, -1, -1),
                           None, 0, "colours"))  # fmt: skip
    with refused("reference=colours", "choose another extractor=", "data.size=8"):
        compare(wrap(gaussian, (1, 8, 8)), ["ddim"], 2, 4, reference=held,
                extractor=PixelExtractor(4, 3, 8, 8))  # fmt: skip


def test_the_numbers_are_those_of_the_command_and_cells_are_shared(
    quick_cli: Run, tmp_path: Path
) -> None:
    quick_cli("compare", "hydra.run.dir=out", "samples=[4,8]", "nfe=[2]", "guidance=[clip]",
              "solvers=[ddim,{u:{solver:unipc,order:1,grid:karras}}]")  # fmt: skip
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()}
    u = {"u": {"solver": UniPC(order=1), "grid": Karras()}}
    found = compare(load("mnist"), ["ddim", u], 2, [4, 8], guidance=Clip(), progress=False,
                    folder=tmp_path / "out")  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()} == (
        cells
    )
    for name in ("solver", "nfe", "samples", "fd", "floor", "precision", "cell", "seconds"):
        values = ["" if row[name] is None else str(row[name]) for row in found]
        assert values == [row[name] for row in rows], name
    with (tmp_path / "out" / "results.csv").open() as file:
        assert list(csv.DictReader(file)) == rows  # the report was written, and is the same


def test_any_reference_gives_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for k, pixels in enumerate(PIXELS):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / "pictures" / f"{k:02d}.png")
    extractor = PixelExtractor(1, *SHAPE)
    references = [
        PIXELS, PIXELS.numpy(), PIXELS.double() / 127.5 - 1, str(tmp_path / "pictures"),
        ReferenceSet.of(extractor, ImageSet(PIXELS, None, 0, "toy")),
    ]  # fmt: skip
    distances = {small(reference=each)[0]["fd"] for each in references}
    assert len({round(distance, 9) for distance in distances}) == 1
    with refused("reference", "pixel1"):
        small(reference=references[-1], extractor=PixelExtractor(2, *SHAPE))


def test_each_solver_may_have_evaluations_of_its_own() -> None:
    def budgets(solvers: Any, nfe: Any) -> list[tuple[str, float]]:
        return [(row["solver"], row["nfe"]) for row in small(solvers=solvers, nfe=nfe)]

    expected = [("heun", 4.0), ("heun", 6.0), ("ddim", 5.0)]
    assert budgets(["heun", DDIM()], {"heun": [4, 6], "ddim": 5}) == expected
    assert budgets([("heun", [4, 6]), (DDIM(), 5)], [9]) == expected
    assert budgets({"heun": {"nfe": [4, 6]}, "ddim": {"solver": DDIM(), "nfe": 5}}, 9) == expected
    assert budgets(("heun", np.int64(4)), 9) == expected[:1]
    assert budgets(("heun", "ddim"), 4) == [("heun", 4.0), ("ddim", 4.0)]


def test_objects_are_called_by_what_they_differ_in() -> None:
    found = small(solvers=[UniPC(), UniPC(order=3), Heun(s_churn=2.5), {"mine": DDIM()}])
    assert [row["solver"] for row in found] == ["unipc", "unipc-order3", "heun-s_churn2.5", "mine"]


class Halfway(StepSolver[None]):
    """DDIM by another name; no yaml knows it."""

    order = 1

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        ratio = step.b.sigma / step.a.sigma
        D = ask.denoise(x, step.a)
        return ratio * x + (step.b.alpha - step.a.alpha * ratio) * D, None


def test_a_solver_of_ones_own_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with refused("grid"):
        small(solvers=[Halfway()])
    found = small(solvers=[Halfway(), "ddim"], grid=Karras(), folder=tmp_path)
    assert [row["solver"] for row in found] == ["Halfway", "ddim"]
    assert found[0]["fd"] == pytest.approx(found[1]["fd"], rel=1e-4)
    # Its code, and that of a function, may be other ones in the next call.
    assert not (tmp_path / "cells").exists()
    assert "cannot be recognised later" in capsys.readouterr().err


def test_the_same_call_goes_on_where_it_was_only_with_a_model_that_is_known(
    tiny_model: str, tmp_path: Path
) -> None:
    def call(solvers: list[Any]) -> None:
        compare(tiny_model, solvers, 2, 4, folder=tmp_path / "out", **QUIET)

    call(["ddim"])
    (cell,) = (tmp_path / "out" / "cells").iterdir()
    before = cell.stat().st_mtime_ns
    call(["ddim", "unipc"])
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 2
    assert cell.stat().st_mtime_ns == before
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_report_is_whole(many: Results, tmp_path: Path) -> None:
    page = many.save(tmp_path / "report")
    assert page == tmp_path / "report" / "report.html"
    plots = {f"fd_vs_{x}.{k}" for x in ("nfe", "samples", "seconds") for k in ("png", "svg", "pdf")}
    others = {"results.csv", "results.json", "samples.png", "trajectory.webp", "report.html"}
    assert {path.name for path in page.parent.iterdir()} == plots | others
    assert (page.parent / "results.csv").read_text() == many.to_csv()


def test_rows_points_and_rankings(many: Results) -> None:
    assert len(many) == 3 * 2 * 2
    assert [row["samples"] for row in many[:2]] == [20, 340]
    assert len(many.points) == 12
    assert [ranking.nfe for ranking in many.rankings] == [4, 6]
    assert many.floors == []
    assert "\n" not in repr(many)
    assert "unipc-order3" in str(many)


def test_tables_show_the_value_that_ranks(many: Results, tmp_path: Path) -> None:
    best = many.rankings[0].best
    text = f"{best.fd_debiased:#.3g}".rstrip(".").replace("-", "−")
    (line,) = [line for line in many.to_markdown().splitlines() if f"| {best.solver}" in
               line.replace("\\", "")]  # fmt: skip
    assert f"**{text} [" in line
    (line,) = [line for line in many.to_latex(tmp_path / "a.tex").splitlines()
               if line.replace("\\", "").startswith(best.solver)]  # fmt: skip
    assert line.split("&")[1].strip().startswith(rf"\textbf{{{text.replace('−', '$-$')}")
    assert (tmp_path / "a.tex").read_text() == many.to_latex()
    assert r"u\_1 &" in many.to_latex()
    assert "| u\\_1 |" in many.to_markdown()
    rows = list(csv.DictReader(io.StringIO(many.to_csv())))
    assert [float(row["fd"]) for row in rows] == [row["fd"] for row in many]


def test_without_intervals_nothing_is_called_best() -> None:
    few = small()
    assert "**" not in few.to_markdown()
    assert "plug-in values" in few.to_markdown()
    assert "textbf" not in few.to_latex()


def test_a_notebook_shows_table_and_plots(many: Results) -> None:
    page = many._repr_html_()
    assert page.count("<tr>") == 4
    assert page.count('src="data:image/png;base64,') == 3
    unsafe = small(solvers={"a.b": "ddim"})._repr_html_()
    assert "<th>a.b</th>" in unsafe


def test_data_frames(many: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with refused("to_pandas", "pip install"):
        many.to_pandas()
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    assert many.to_pandas() == list(many)


def test_nothing_is_printed_without_progress(capsys: pytest.CaptureFixture[str]) -> None:
    small()
    assert capsys.readouterr() == ("", "")
    small(progress=True)
    printed = capsys.readouterr()
    assert "ddim" in printed.out
    assert printed.err == ""  # no bar in what is no terminal


def test_a_budget_that_one_of_several_cannot_spend_leaves_the_others_theirs() -> None:
    """What the refusal says can be typed."""
    alone = "{heun:{solver:heun,nfe:[4,6]}} in solvers"
    with refused("nfe=5: Heun spends 2 evaluations a step", "[4, 6]", alone):
        compare(TOY, ["heun", "ddim"], nfe=[4, 5], n=4)
    with pytest.raises(InputError) as caught:  # the others are none
        compare(TOY, ["heun"], nfe=[5], n=4)
    assert "alone" not in str(caught.value)
