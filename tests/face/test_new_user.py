"""What a new user of Python tried at 7a19cb7 (part B of the report), row by row."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sde_diffusion import (
    VP,
    Calibrated,
    ClassifierFree,
    FromImage,
    Heun,
    Karras,
    Sampler,
    Space,
    compare,
    exact_error,
    load,
    wrap,
)
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.sampling.sampler import Request
from tests.face.toys import CLASSES, GREY, MNIST, NAN, TOY, X, gaussian, same
from tests.refusals import refused


def objects(tmp_path: Path) -> None:
    named = TOY.sample(n=2, nfe=8, solver="heun", sde="vp", grid="karras")
    same(TOY.sample(n=2, nfe=8, solver=Heun(), sde=VP(), grid=Karras()), named)
    by_name = exact_error("heun", 8, torch.eye(3), grid="karras")
    assert exact_error(Heun(), 8, torch.eye(3), grid=Karras()) == by_name


def parts_by_hand(tmp_path: Path) -> None:
    class Faster(VP):
        """A process of one's own."""

    sampler = Sampler.build(Faster(), TOY.denoiser, Heun(), Karras())
    same(sampler.sample(Request([0], 4)), TOY.sample(n=1, nfe=4, sde=Faster(), solver=Heun()))
    same(sampler.sample(Request([0], 4)), TOY.sample(n=1, nfe=4, sde="vp", solver="heun"))


def noise_of_ones_own(tmp_path: Path) -> None:
    ratio = TOY.sample(n=2, nfe=8, x_T=X).x / X
    assert float(ratio.std()) < 1e-5  # the flow of N(0, I) scales
    with pytest.raises(InputError) as refused:
        TOY.sample(n=2, nfe=8, x=X)
    assert len(str(refused.value)) < 200


def levels(tmp_path: Path) -> None:
    listed = TOY.sample(n=2, nfe=4, solver="ddim", grid=[80, 10, 1, 0.1, 0.002])
    same(listed, TOY.sample(n=2, nfe=4, solver="ddim", grid="explicit",
                            grid__levels=[80, 10, 1, 0.1, 0.002]))  # fmt: skip


def guidance_by_one_name(tmp_path: Path) -> None:
    one = CLASSES.sample(n=2, nfe=4, label=2, guidance="cfg")
    same(one, CLASSES.sample(n=2, nfe=4, label=2, guidance=[ClassifierFree(1.5)]))


def a_conditional_callable(tmp_path: Path) -> None:
    plain = CLASSES.sample(n=200, nfe=12, label=2).x
    led = CLASSES.sample(n=200, nfe=24, label=2, guidance="cfg", guidance__cfg__scale=2.0).x
    assert float(plain.mean()) == pytest.approx(2, abs=0.05)
    # 0 + 2 (2 - 0); the standard error is 0.01, that of 12 steps by UniPC -0.06.
    assert float(led.mean()) == pytest.approx(4, abs=0.1)


def another_prediction(tmp_path: Path) -> None:
    def epsilon(x: Tensor, sigma: Tensor) -> Tensor:
        return x * sigma / (1 + sigma**2)

    model = wrap(epsilon, (1, 8, 8), predicts="epsilon", name="mine")
    assert model.name == "mine"
    assert torch.allclose(model.sample(n=2, nfe=8).x, TOY.sample(n=2, nfe=8).x, atol=1e-5)


def a_module_as_in_edm(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of_sigma = nn.Linear(1, 8)

        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            assert sigma.shape == (len(x),)
            assert sigma.dtype == x.dtype
            return x + self.of_sigma(sigma[:, None]).mean(1)[:, None, None, None]

    for dtype in (torch.float32, torch.float64):
        wrap(Net().to(dtype), (1, 8, 8)).sample(n=3, nfe=4, dtype=dtype)


def no_such_device(tmp_path: Path) -> None:
    absent = "cuda:99"  # not even where there is one
    with refused("device=cuda:99", "use device=cpu"):
        TOY.sample(n=2, nfe=4, device=absent)


def names_and_numbers_of_libraries(tmp_path: Path) -> None:
    same(TOY.sample(n=2, nfe=4, dtype="float64"), TOY.sample(n=2, nfe=4, dtype=torch.float64))
    same(CLASSES.sample(n=2, nfe=4, label=np.int64(2)), CLASSES.sample(n=2, nfe=4, label=2))
    listed = CLASSES.sample(n=2, nfe=4, label=[2, 0])
    same(CLASSES.sample(n=2, nfe=4, label=np.array([2, 0])), listed)
    same(CLASSES.sample(n=2, nfe=4, label=torch.tensor([2, 0])), listed)
    with refused("n=2.0", "give a whole number"):
        TOY.sample(n=2.0, nfe=4)  # type: ignore[arg-type]
    assert torch.equal(TOY.encode(X.double().numpy()), TOY.encode(X.double()))
    assert exact_error("ddim", 5, np.eye(2)) == exact_error("ddim", 5, torch.eye(2))
    with refused("model", "a tuple"):
        wrap(lambda x, sigma: (x,), (1, 8, 8)).sample(n=2, nfe=4)


def a_negative_seed(tmp_path: Path) -> None:
    with refused("seed", "give a whole number from 0"):
        TOY.sample(n=2, nfe=4, seed=-1)


def a_folder_of_a_run(tmp_path: Path, quick_cli: Any) -> None:
    words = ["network.widths=[8,8]", "network.embedding=8", "steps=2", "save_every=2"]
    quick_cli("train", "experiment=digits", *words, f"hydra.run.dir={tmp_path / 'run'}")
    folder = load(tmp_path / "run")
    same(folder.sample(n=2, nfe=4), load(tmp_path / "run" / "model.safetensors").sample(n=2, nfe=4))
    results = compare(str(tmp_path / "run"), ["ddim"], [2], 20, reference=GREY, metrics=(),
                      progress=False)  # fmt: skip
    assert len(results) == 1


def progress_and_callback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []
    TOY.sample(n=2, nfe=4, progress=True, callback=lambda at, x: seen.append(at.sigma))
    assert "sample: 100%" in capsys.readouterr().err
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)


def files_and_pictures(tmp_path: Path) -> None:
    drawn = CLASSES.sample(n=4, nfe=4, label=[0, 1, 2, 0], seed=7)
    assert len(list(drawn.save(tmp_path / "out").glob("*.png"))) == 4
    assert [picture.size for picture in drawn.pictures] == [(8, 8)] * 4
    assert drawn.grid(columns=4).size == (8 * 35, 8 * 8)
    assert (drawn.labels, drawn.seeds) == ((0, 1, 2, 0), (7, 8, 9, 10))


def print_is_one_line(tmp_path: Path) -> None:
    for thing in (TOY.sample(n=2, nfe=4), TOY, load("mnist"), MNIST.sampler(), TOY.calibrate(
        2, noises=8, held_out=2, tries=1, budget=0, progress=False)):  # fmt: skip
        assert "\n" not in str(thing)
        assert len(str(thing)) < 160


def a_data_frame(tmp_path: Path) -> None:
    results = compare(TOY, ["ddim", Heun()], [4], 20, reference=GREY, progress=False)
    assert [row["solver"] for row in results] == ["ddim", "heun"]
    pandas = pytest.importorskip("pandas")
    assert isinstance(results.to_pandas(), pandas.DataFrame)


def a_calibrated_callable(tmp_path: Path) -> None:
    rule = TOY.calibrate(nfe=[4, 6], noises=8, held_out=4, tries=2, budget=1, progress=False)
    assert isinstance(rule, Calibrated)
    assert TOY.sample(n=2, nfe=6, solver=rule).nfe == 6


def several_budgets(tmp_path: Path) -> None:
    found = exact_error("unipc", nfe=[5, 10], covariance=torch.eye(2))
    assert list(found) == [5, 10]


def what_was_good(tmp_path: Path) -> None:
    wide = TOY.sample(n=2, nfe=4, dtype=torch.float64)
    assert wide.x.dtype == torch.float64
    assert wrap(gaussian, (4, 8, 8)).sample(n=2, nfe=4).x.shape == (2, 4, 8, 8)
    assert wrap(gaussian, (3,)).sample(n=2, nfe=4).x.shape == (2, 3)
    path = TOY.sample(n=2, nfe=4, trajectory=True)
    assert path.trajectory is not None
    assert path.times is not None
    assert path.trajectory.shape[:2] == (len(path.times), 2)
    path.save_animation(tmp_path / "x.gif")
    assert (tmp_path / "x.gif").stat().st_size > 500
    assert next(iter(DataLoader(wide.images, batch_size=2))).shape == (2, 1, 8, 8)  # type: ignore[arg-type]
    same(pickle.loads(pickle.dumps(wide)), wide)
    with pytest.raises(DivergedError):
        _ = wrap(lambda x, sigma: x * NAN, (1, 8, 8)).sample(n=2, nfe=4).images


ROWS = [
    objects, parts_by_hand, noise_of_ones_own, levels, guidance_by_one_name,
    a_conditional_callable, another_prediction, a_module_as_in_edm, no_such_device,
    names_and_numbers_of_libraries, a_negative_seed, files_and_pictures, print_is_one_line,
    a_data_frame, a_calibrated_callable, several_budgets, what_was_good,
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_what_a_new_user_tries(row: Callable[[Path], None], tmp_path: Path) -> None:
    row(tmp_path)


def test_what_a_new_user_tries_with_a_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress_and_callback(tmp_path, capsys)


def test_what_a_new_user_tries_with_a_run(tmp_path: Path, quick_cli: Any) -> None:
    a_folder_of_a_run(tmp_path, quick_cli)


def test_a_space_is_a_shape_too() -> None:
    same(wrap(gaussian, Space.of((1, 8, 8))).sample(n=1, nfe=4), TOY.sample(n=1, nfe=4))


def test_a_list_of_levels_and_noise_of_ones_own_say_how_many() -> None:
    """Neither nfe nor n is needed beside them, whatever a step costs."""
    levels = [80, 10, 1, 0.1]
    listed = TOY.sample(n=2, solver="ddim", grid=levels)
    assert listed.nfe == 3
    same(listed, TOY.sample(n=2, nfe=3, solver="ddim", grid=levels))
    assert TOY.sample(n=2, solver="heun", grid=levels).nfe == 6
    assert TOY.sample(n=2, solver="ddim", grid=[*levels, 0]).nfe == 4
    assert CLASSES.sample(n=2, solver="ddim", label=1, guidance="cfg", grid=levels).nfe == 6
    half = FromImage(torch.zeros(2, *TOY.denoiser.shape), level=5.0)  # walks 5, 1, .1
    assert TOY.sample(n=2, solver="ddim", grid=levels, start=half).nfe == 2
    noise = torch.randn(3, *TOY.denoiser.shape)
    same(TOY.sample(nfe=4, x_T=noise), TOY.sample(n=3, nfe=4, x_T=noise))
