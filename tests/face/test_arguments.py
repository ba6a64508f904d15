"""Wrong arguments are one line each; right ones may be written in many ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sde_diffusion import (
    Calibrated,
    ClassifierFree,
    FromImage,
    Heun,
    Karras,
    UniPC,
    exact_error,
    load,
    wrap,
)
from sde_diffusion.errors import InputError
from sde_diffusion.face.spelling import in_python
from tests.face.toys import CLASSES, MNIST, NAN, TOY, ZEROS, X, gaussian


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


def test_messages_are_in_the_words_of_python() -> None:
    said = in_python(
        "label=null: set solver.inner.order=3 or solver=unipc, all, or null; see 'sde-diffusion "
        "sample solver=ddim label=null'"
    )
    assert said == (
        'label=None: set solver__inner__order=3 or solver="unipc", all, or None; see '
        "'sde-diffusion sample solver=ddim label=null'"
    )
