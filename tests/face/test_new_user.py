"""What a new user of Python tried at 7a19cb7 (part B of the report), row by row, and sixty more."""

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
    UniPC,
    compare,
    exact_error,
    load,
    wrap,
)
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.face.spelling import in_python
from sde_diffusion.sampling.sampler import Request
from tests.refusals import refused

NAN = float("nan")


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, I)."""
    return x / (1 + sigma**2)


def labelled(x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
    """Class c is N(c, I)."""
    s, mean = sigma[:, None, None, None].as_subclass(Tensor), label[:, None, None, None]
    return (x + s**2 * mean * (mean < 3)) / (1 + s**2)


TOY = wrap(gaussian, (1, 8, 8), name="toy")
CLASSES = wrap(labelled, (1, 8, 8), classes=3)
MNIST = load("mnist")
ZEROS, X = torch.zeros(2, 1, 8, 8), torch.randn(2, 1, 8, 8, generator=torch.Generator())
GREY = torch.randint(
    0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def same(a: Any, b: Any) -> None:
    assert torch.equal(a.x, b.x)


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


def draw(**wrong: Any) -> object:
    return TOY.sample(**{"n": 2, "nfe": 4, **wrong})


def tell(**wrong: Any) -> object:
    return CLASSES.sample(**{"n": 2, "nfe": 4, "label": 2, **wrong})


def wrapped(**wrong: Any) -> object:
    given: dict[str, Any] = {"model": gaussian, "shape": (1, 8, 8), **wrong}
    return wrap(given.pop("model"), given.pop("shape"), **given)


# The call, what is wrong, and how the line begins and what it offers.
WRONG: list[tuple[Callable[..., object], dict[str, Any], str, str]] = [
    (draw, {"n": 0}, "n=0:", "from 1 to 10000000"),
    (draw, {"n": True}, "n=True:", "give a whole number"),
    (draw, {"n": np.float32(2)}, "n=np.float32(2.0):", "give a whole number"),
    (draw, {"n": torch.tensor([2])}, "n=tensor([2]):", "give a whole number"),
    (draw, {"n": NAN}, "n=nan:", "give a whole number"),
    (draw, {"n": 10**30}, "n=1000", "from 1 to 10000000"),
    (draw, {"n": None, "seeds": 3}, "seeds: 3 is no sequence", "such as range(16)"),
    (draw, {"seeds": 3}, "seeds: 3 is no sequence", "such as range(16)"),
    (draw, {"n": None, "seeds": "37"}, "seeds: '37' is no sequence", "such as range(16)"),
    (draw, {"n": None, "seeds": [2**64]}, "seeds: 18446744073709551616", "from 0 to 2^64 - 1"),
    (draw, {"n": None, "seeds": [1.5]}, "seeds: 1.5 is no seed", "from 0 to 2^64 - 1"),
    (draw, {"n": None, "seeds": []}, "n=0:", "at least one seed"),
    (draw, {"n": 3, "seeds": [1]}, "n=3: seeds are 1", "leave one of the two out"),
    (draw, {"seed": 2**64}, "seed: 18446744073709551616", "from 0 to 2^64 - 1"),
    (draw, {"seed": "1"}, "seed: '1'", "from 0 to 2^64 - 1"),
    (draw, {"nfe": 0}, "nfe=0:", "give a whole number >= 1"),
    (draw, {"nfe": "4"}, "nfe='4':", "give a whole number"),
    (draw, {"nfe": [4]}, "nfe=[4]:", "give a whole number"),
    (draw, {"nfe": 5, "solver": Heun()}, "nfe=5:", "give one of [4, 6]"),
    (draw, {"device": "gpu"}, "device=gpu:", "use device=cpu"),
    (draw, {"device": None}, "device=None:", "use device=cpu"),
    (draw, {"device": "meta"}, "device=meta:", "use device=cpu"),
    (draw, {"dtype": "float16"}, "dtype=float16:", "float32, float64"),
    (draw, {"dtype": torch.int64}, "dtype=int64:", "float32, float64"),
    (draw, {"dtype": None}, "dtype=None:", "float32, float64"),
    (draw, {"batch_size": 0}, "batch_size=0:", ">= 1"),
    (draw, {"batch_size": None}, "batch_size=None:", ">= 1"),
    (draw, {"trajectory": "yes"}, "trajectory='yes':", "give True or False"),
    (draw, {"progress": 1}, "progress=1:", "give True or False"),
    (draw, {"denoise_last": "no"}, "denoise_last='no':", "give True or False"),
    (draw, {"callback": 3}, "callback=3:", "give a function"),
    (draw, {"callback": lambda at: None}, "callback: too many", "give a function of a marginal"),
    (MNIST.sample, {"label": {3, 1}}, "label={1, 3}:", "a list of one for each image"),
    (draw, {"start": {"a": 1}}, "start: a dict;", "FromImage(x_0, level=2.0)"),
    (draw, {"start": FromImage(ZEROS, level=2.0), "x_T": X}, "x_T: start", "leave one of the two"),
    (draw, {"x_T": "noise"}, "x_T: a str;", "give noise [2, *shape]"),
    (draw, {"x_T": torch.zeros(3, 1, 8, 8)}, "x_T: 3 rows for 2 images;", "give one each"),
    (draw, {"x_T": ZEROS * NAN}, "x_T: has values that are not finite", "give noise"),
    (draw, {"x_T": ZEROS.to(torch.complex64)}, "x_T: torch.complex64", "give noise"),
    (draw, {"x_T": [[1], [2, 3]]}, "x_T: a list;", "give noise"),
    (draw, {"solver": Heun}, "solver=Heun: a class;", "give an object, Heun()"),
    (draw, {"solver": Karras()}, "solver=Karras(", "give one of"),
    (draw, {"solver": "unipcc"}, 'solver="unipcc":', "did you mean unipc?"),
    (draw, {"solver": {"unipc": {"oder": 3}}}, "solver__oder:", "did you mean order?"),
    (draw, {"solver": "unipc", "solver__order": NAN}, "solver__order=nan:", "a whole number"),
    (draw, {"solver": UniPC(), "solver__order": 3}, "solver__order: solver is an object", "fields"),
    (draw, {"sde": None}, "sde=None:", "give one of cosine"),
    (draw, {"sde": "VP"}, "sde=VP:", "choose one of cosine"),
    (draw, {"grid": []}, "grid=[]:", "give one of ays"),
    (draw, {"grid": [80]}, "grid=[80.0]:", "at least two strictly decreasing"),
    (draw, {"grid": [80, NAN]}, "grid=nan", "give a finite number"),
    (draw, {"grid": [80, None]}, "grid=None:", "give a finite number"),
    (draw, {"grid": [800, 10, 1, 0.1]}, "grid__sigma_min=0.1, grid__sigma_max=800:", "within it"),
    (MNIST.sample, {"solver": "calibrated", "grid": Karras()}, "grid: Calibrated has", "leave it"),
    (MNIST.sample, {"solver": Calibrated(), "grid__rho": 5}, "grid: Calibrated has", "leave it"),
    (draw, {"noise": X}, "noise=tensor(", "give one of brownian, seeds"),
    (draw, {"label": 3}, "label=3: model toy takes no label", "leave it out"),
    (draw, {"lable": 3}, "lable: unknown keyword;", "did you mean label?"),
    (draw, {"precision": "bfloat16"}, "precision: of a model;", "precision=..."),
    (draw, {"channels_last": True}, "channels_last: of a model;", "load(CHECKPOINT"),
    (tell, {"label": "2"}, "label='2': a text", "give the number, label=2"),
    (tell, {"label": 2.0}, "label=2.0:", "give a class, 0 .. 2"),
    (tell, {"label": -1}, "label=-1:", "give a class, 0 .. 2"),
    (tell, {"label": True}, "label=True:", "give a class, 0 .. 2"),
    (tell, {"label": [1, None]}, "label=None:", "a list of one for each image"),
    (tell, {"label": torch.tensor([1.0, 2.0])}, "label=1.0:", "give a class"),
    (tell, {"label": np.array([[1, 2], [0, 1]])}, "label=[1 2]:", "give a class"),
    (tell, {"label": [0, 1, 2]}, "label: 3 labels for 2 images;", "one for each image"),
    (tell, {"label": None, "guidance": "cfg"}, 'guidance="cfg": needs a condition;', "guidance=[]"),
    (tell, {"guidance": ["cfg", "cfg"]}, "guidance: cfg is given twice", "give it once"),
    (tell, {"guidance": 2.0}, "guidance=2.0:", "give one of "),
    (tell, {"guidance": ClassifierFree}, "guidance=ClassifierFree: a class;", "ClassifierFree()"),
    (tell, {"guidance__cfg__scale": 2}, "guidance__cfg__scale: cfg is not among", "leave it out"),
    (tell, {"guidance": {"cfg": {"scale": NAN}}}, "guidance__scale=nan:", "give -1000 <= scale"),
    (tell, {"guidance": "cfg", "nfe": 5}, "nfe=5:", "multiple of 2"),
    (wrapped, {"model": 3}, "model=3:", "give a callable model(x, sigma)"),
    (wrapped, {"model": lambda x: x}, "model:", "it is called as model(x, sigma)"),
    (wrapped, {"classes": 3}, "model:", "it is called as model(x, sigma, label)"),
    (wrapped, {"classes": "3"}, "classes='3':", "give a whole number"),
    (wrapped, {"shape": 8}, "shape=8:", "(3, 32, 32)"),
    (wrapped, {"shape": (1, -8, 8)}, "shape=-8:", "give a whole number from 1 to"),
    (wrapped, {"predicts": "noise"}, "predicts=noise:", "epsilon"),
    (wrapped, {"name": None}, "name=None:", "give a name"),
    (wrapped, {"sigma_min": 5, "sigma_max": 1}, "sigma_min=5:", "0 < sigma_min < sigma_max=1"),
    (wrapped, {"sigma_min": "a"}, "sigma_min='a':", "give a finite number"),
    (wrapped, {"conditioner": 3}, "conditioner=3:", "Conditioner"),
    (TOY.encode, {"images": X + 300}, "images: values up to", "floats in -1 .. 1"),
    (TOY.encode, {"images": ZEROS[:, :, :4]}, "images: shape (1, 4, 8)", "(1, 8, 8)"),
    (TOY.encode, {"images": ZEROS, "error": "x"}, "error='x':", "give a finite number"),
    (TOY.encode, {"images": ZEROS, "batchsize": 3}, "batchsize: unknown", "mean batch_size?"),
    (TOY.decode, {"latents": ZEROS[:, :, :4]}, "latents: shape (1, 4, 8)", "[N, 1, 8, 8]"),
    (TOY.interpolate, {"a": X, "b": X, "steps": 1}, "steps=1:", ">= 2"),
    (TOY.interpolate, {"a": X, "b": X[:1]}, "a, b: shapes (2, 1, 8, 8)", "as many of both"),
    (MNIST.save, {"path": "model.pt"}, "path=model.pt:", "ends in .safetensors"),
    (TOY.sampler().sample, {"request": 5}, "request=5:", "Request(seeds="),
    (ClassifierFree, {"scale": "2"}, "guidance.cfg.scale=2: a text;", "give a number"),
    (exact_error, {"solver": "dopri", "nfe": 5, "covariance": np.eye(2)}, 'solver="dopri": no',
     "use compare"),
    (load, {"checkpoint": "minst"}, "checkpoint=minst:", "'mnist'"),
    (load, {"dtype": "float16"}, "dtype=float16:", "float32, float64, bfloat16"),
    (load, {"compile": 1}, "compile=1:", "give True or False"),
    (load, {"device": "cpu"}, "device: of what is drawn", "load(CHECKPOINT).sample(device="),
    (load, {"chanels_last": True}, "chanels_last: a checkpoint has no", "mean channels_last?"),
    (load, {"precison": "float32"}, "precison: a checkpoint has no such", "mean precision?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "wrong", "begins", "offers"), WRONG, ids=[f"{w[0].__name__}-{w[2]}" for w in WRONG]
)
def test_a_wrong_argument_is_one_line_with_key_and_remedy(
    call: Callable[..., object], wrong: dict[str, Any], begins: str, offers: str
) -> None:
    with pytest.raises(InputError) as refused:
        call(**wrong)
    line = str(refused.value)
    assert line.startswith(begins), line
    assert offers in line
    assert "\n" not in line
    assert len(line) < 600


RIGHT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"n": np.int64(2), "nfe": np.int32(4)}, {}),
    ({"n": torch.tensor(2), "nfe": torch.tensor(4)}, {}),
    ({"n": None, "seeds": np.arange(2)}, {}),
    ({"n": None, "seeds": torch.arange(2)}, {}),
    ({"n": None, "seeds": range(2)}, {}),
    ({"dtype": np.float64}, {"dtype": "float64"}),
    ({"dtype": np.dtype("float64")}, {"dtype": "torch.float64"}),
    ({"device": torch.device("cpu")}, {"device": "cpu"}),
    ({"trajectory": np.bool_(False)}, {}),
    ({"grid": np.array([80, 10, 1, 0.1, 0.002])}, {"grid": (80, 10, 1, 0.1, 0.002)}),
    ({"x_T": X.numpy()}, {"x_T": X}),
    ({"x_T": X.tolist()}, {"x_T": X}),
    ({"guidance": None}, {"guidance": []}),
    ({"solver": {"unipc": {"order": np.int64(3)}}}, {"solver": UniPC(order=3)}),
    ({"nfe": None}, {"nfe": 20}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "plain"), RIGHT, ids=[str(g)[:40] for g, _ in RIGHT])
def test_what_means_the_same_draws_the_same(given: dict[str, Any], plain: dict[str, Any]) -> None:
    def drawn(words: dict[str, Any]) -> Tensor:
        return TOY.sample(**{"n": 2, "nfe": 4, **words}).x

    assert torch.equal(drawn(given), drawn(plain))


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


def test_messages_are_in_the_words_of_python() -> None:
    said = in_python(
        "label=null: set solver.inner.order=3 or solver=unipc, all, or null; see 'sde-diffusion "
        "sample solver=ddim label=null'"
    )
    assert said == (
        'label=None: set solver__inner__order=3 or solver="unipc", all, or None; see '
        "'sde-diffusion sample solver=ddim label=null'"
    )
