"""Recorded calls and the animation of them: nothing is asked twice, nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from sde_diffusion.denoisers.closed_form import EmpiricalDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.guidance import ClassifierFree, Guided
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import VP
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.film import draw, encode
from sde_diffusion.sampling.recorder import Calls
from sde_diffusion.sampling.sampler import Request, Sampler, Watch
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.heun import Heun
from tests.conftest import Run

F64 = Execution(dtype=torch.float64)
POINTS = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def sampler(solver: Solver) -> Sampler:
    return Sampler.build(VP(), EmpiricalDenoiser(POINTS, 0.1), solver, Karras())


def test_recording_costs_no_evaluation_and_changes_no_image() -> None:
    s = sampler(Heun())
    plain = s.sample(Request(range(5), 8), Execution(2, torch.float64))
    seen = s.sample(Request(range(5), 8), Execution(2, torch.float64), Watch(recorded=3))
    assert plain.nfe == seen.nfe == 8
    assert torch.equal(plain.x, seen.x)
    assert plain.calls is None
    assert seen.calls is not None
    assert seen.calls.asked.shape == seen.calls.answered.shape == (8, 3, 1, 8, 8)
    assert seen.calls.levels[0] == pytest.approx(80, rel=1e-6)


def test_the_answers_are_the_denoisers_own() -> None:
    s = sampler(DDIM())
    calls = s.sample(Request([0, 1], 4), F64, Watch(recorded=2)).calls
    assert calls is not None
    for level, asked, answered in zip(calls.levels, calls.asked, calls.answered, strict=True):
        assert torch.equal(s.denoiser(asked, level), answered)


def test_a_guided_answer_is_one_call_of_two_evaluations() -> None:
    model = load("mnist")
    s = Sampler.build(VP(), Guided(model.denoiser, ClassifierFree(2.0)), DDIM(), Karras())
    drawn = s.sample(Request([0], 4, model.condition({"label": 7}, [0])), watch=Watch(recorded=1))
    assert drawn.nfe == 4
    assert drawn.calls is not None
    assert len(drawn.calls.levels) == 2


def test_steps_of_ones_own_make_no_film() -> None:
    drawn = sampler(DoPri(0.1)).sample(Request([0, 1], None), F64, Watch(recorded=2))
    assert drawn.calls is None
    with pytest.raises(InputError, match="solver of fixed steps"):
        drawn.save_animation("x.webp")
    one = Calls(torch.ones(1), torch.ones(1, 1, 2), torch.ones(1, 1, 2))
    assert Calls.join([one, None]) is None
    assert Calls.join([one, Calls(torch.zeros(1), one.asked, one.answered)]) is None


def test_a_film_ends_on_the_image_and_starts_as_grey_noise() -> None:
    drawn = sampler(DDIM()).sample(Request(range(4), 5), F64, Watch(recorded=4))
    film = drawn.film
    assert torch.equal(film.states[-1], drawn.images)
    assert torch.equal(film.estimates[-1], drawn.images)
    first = film.states[0].double()
    # sigma n / (1 + 2 sigma) has the standard deviation of half the range: little is clipped.
    assert 0.01 < ((first == 0) | (first == 255)).double().mean() < 0.1


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_every_frame_is_there_and_the_last_one_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    load("mnist").sample(n=4, nfe=6, label=3, trajectory=True).save_animation(path)
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == 7
        assert picture.width > 2 * 2 * 56
    with pytest.raises(InputError, match=r"\.mp4"):
        encode([Image.new("L", (2, 2))], ".mp4")


def test_a_shorter_film_waits_for_the_longer() -> None:
    films = {
        name: sampler(DDIM()).sample(Request([0], nfe), F64, Watch(recorded=1)).film
        for name, nfe in (("wide", 2), ("thin", 4))
    }
    assert len(draw(films)) == 5
    alone = draw({"wide": films["wide"]})[-1]
    # Cut to the pictures of the short film: its last one is the finished image.
    waited = draw(films)[3].crop((0, 0, alone.width, 100))
    assert (
        waited.crop((0, 40, *waited.size)).tobytes() == alone.crop((0, 40, *waited.size)).tobytes()
    )


def test_the_task_writes_it_and_refuses_steps_of_its_own(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli("sample", "n=3", "nfe=3", "animation=true", "hydra.run.dir=out")
    with Image.open(tmp_path / "out" / "animation.webp") as picture:
        assert getattr(picture, "n_frames", 1) == 4
    done = quick_cli(
        "sample", "n=3", "solver=dopri", "animation=true", "hydra.run.dir=no", ok=False
    )
    assert "animation=true" in done.stderr
