"""The face: components as objects or by name, and one line for whatever would change nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sde_diffusion
from sde_diffusion import VP, Calibrated, ClassifierFree, Clip, Heun, Karras, UniPC, load, wrap
from sde_diffusion.errors import InputError
from sde_diffusion.face.model import Model
from sde_diffusion.system.storage import assets, shipped
from tests.refusals import refused
from tests.tiny_model import write_tiny

TOY = wrap(lambda x, sigma: x / (1 + sigma**2), shape=(1, 4, 4), name="toy")


@pytest.fixture(scope="module")
def mnist() -> Model:
    return load("mnist")


def test_every_name_that_the_package_offers_is_there() -> None:
    for name in sde_diffusion.__all__:
        assert getattr(sde_diffusion, name) is not None
    assert set(sde_diffusion.__all__) <= set(dir(sde_diffusion))


def test_a_model_is_opened_and_drawn_from_without_the_command_line() -> None:
    """What tasks, tables and plots need would cost each script a second more."""
    code = (
        "import sys; from sde_diffusion import load; load('mnist').sample(n=1, nfe=2); "
        "print([m for m in ('scipy', 'matplotlib', 'omegaconf', 'hydra') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_objects_and_names_draw_the_same(mnist: Model) -> None:
    by_name = mnist.sample(
        n=2, nfe=8, label=7, solver="unipc", solver__order=3, sde="vp", grid="karras",
        grid__rho=5.0, guidance=["cfg", "clip"], guidance__cfg__scale=2.0,
    )  # fmt: skip
    objects = mnist.sample(
        n=2, nfe=8, label=7, solver=UniPC(order=3), sde=VP(), grid=Karras(rho=5.0),
        guidance=[ClassifierFree(2.0), Clip()],
    )  # fmt: skip
    assert torch.equal(by_name.x, objects.x)
    nested = TOY.sample(n=2, nfe=8, solver={"unipc": {"order": 3}}, grid={"karras": {"rho": 5.0}})
    assert torch.equal(
        nested.x, TOY.sample(n=2, nfe=8, solver=UniPC(order=3), grid=Karras(rho=5)).x
    )


def test_the_grid_of_a_solver_goes_with_its_object() -> None:
    assert torch.equal(
        TOY.sample(n=1, nfe=8, solver="heun").x, TOY.sample(n=1, nfe=8, solver=Heun()).x
    )


def test_levels_are_a_grid() -> None:
    listed = TOY.sample(n=1, nfe=3, solver="ddim", grid=[80, 10, 1, 0.1]).x
    explicit = TOY.sample(
        n=1, nfe=3, solver="ddim", grid="explicit", grid__levels=[80, 10, 1, 0.1]
    ).x
    array = TOY.sample(n=1, nfe=3, solver="ddim", grid=np.array([80, 10, 1, 0.1])).x
    assert torch.equal(listed, explicit)
    assert torch.equal(listed, array)


def test_seeds_are_those_asked_for() -> None:
    both = TOY.sample(seeds=[3, 14], nfe=4)
    assert both.seeds == (3, 14)
    assert torch.equal(both.x[0], TOY.sample(n=1, seed=3, nfe=4).x[0])
    assert torch.equal(both.x[1], TOY.sample(n=1, seed=np.int64(14), nfe=4).x[0])
    assert len(TOY.sample(nfe=2)) == 16


def test_seeds_far_apart_are_different_images() -> None:
    for a, b in ((0, 2**32), (7, 7 + 5 * 2**32), (0, 2**63)):
        assert not torch.equal(TOY.sample(seeds=[a], nfe=4).x, TOY.sample(seeds=[b], nfe=4).x)


def test_a_start_of_ones_own() -> None:
    n = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    mine = TOY.sample(n=3, nfe=8, x_T=n)
    # N(0, I) stays N(0, I): the flow of a linear denoiser is a scaling.
    ratio = mine.x / n
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-3)
    assert torch.equal(mine.x[1:2], TOY.sample(n=1, nfe=8, x_T=n[1:2].numpy()).x)


def test_callbacks_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    levels: list[float] = []
    TOY.sample(n=3, nfe=5, solver="ddim", batch_size=3, progress=True,
               callback=lambda at, x: levels.append(at.noise_level))  # fmt: skip
    assert len(levels) == 6
    assert levels == sorted(levels, reverse=True)
    assert "sample" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        {"n": np.int64(2)}, {"n": torch.tensor(2)}, {"dtype": "float64"}, {"dtype": torch.float64},
        {"nfe": np.int32(4)}, {"batch_size": np.uint8(2)}, {"device": torch.device("cpu")},
        {"guidance": Clip()}, {"guidance": "clip"}, {"guidance": None},
        {"solver__order": np.int64(2)},
    ],
)  # fmt: skip
def test_numbers_and_names_of_any_library_are_taken(options: dict[str, Any]) -> None:
    assert len(TOY.sample(**{"n": 2, "nfe": 4, **options})) == 2


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"slover": "heun"}, "slover.*solver"),
    ({"solver__ordr": 2}, "solver__ordr.*order"),
    ({"solver": "unipcc"}, 'solver="unipcc".*unipc'),
    ({"solver": UniPC}, r"solver=UniPC: a class; give an object, UniPC\(\)"),
    ({"solver": Karras()}, "solver="),
    ({"solver": 3}, "solver=3"),
    ({"solver": UniPC(), "solver__order": 3}, "solver__order|solver.order"),
    ({"guidance__cfg__scale": 2.0}, "guidance__cfg__scale"),
    ({"guidance": "cfgg"}, "guidance.*cfg"),
    ({"guidance": "cfg"}, "label"),
    ({"checkpoint": "nofile"}, "checkpoint"),
    ({"n": 2.0}, r"n=2\.0"),
    ({"n": 0}, "n=0"),
    ({"n": True}, "n=True"),
    ({"n": "3"}, "n='3'"),
    ({"seed": -1}, "seed: -1"),
    ({"seeds": [1.7]}, "seeds"),
    ({"seeds": [2**64]}, "seeds"),
    ({"seeds": "12"}, "seeds"),
    ({"seeds": [1, 2], "n": 3}, "n=3"),
    ({"seeds": [1, 2], "seed": 3}, "seed"),
    ({"nfe": 7.5}, "nfe=7.5"),
    ({"nfe": 4, "solver": "dopri"}, "nfe=4"),
    ({"label": 3}, "label=3"),
    ({"dtype": "float16"}, "dtype=float16"),
    ({"device": "cuda"}, "device=cuda"),
    ({"device": "gpu"}, "device=gpu"),
    ({"batch_size": 0}, "batch_size=0"),
    ({"x_T": torch.zeros(1, 1, 4, 4)}, "x_T"),
    ({"x_T": torch.zeros(2, 3, 4, 4)}, "x_T"),
    ({"x_T": torch.full((2, 1, 4, 4), torch.nan)}, "x_T"),
    ({"x_T": "noise"}, "x_T"),
    ({"grid": [1, 2, 3]}, "grid"),
    ({"grid": []}, "grid"),
    ({"sde": {}}, "sde"),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[str(words) for _, words in WRONG])
def test_wrong_arguments_are_one_line(options: dict[str, Any], words: str) -> None:
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match=words) as refusal:
        TOY.sample(**{"n": 2, "nfe": 8, **options})
    assert "\n" not in str(refusal.value)


def test_images_there_and_back_from_numpy() -> None:
    images = (np.random.default_rng(0).random((2, 1, 4, 4)) * 255).astype(np.uint8)
    latents = TOY.encode(images, error=1e-5, batch_size=2)
    back = TOY.decode(latents.numpy(), error=1e-5)
    assert float((back - (torch.from_numpy(images) / 127.5 - 1)).abs().max()) < 1e-2
    assert TOY.interpolate(images[:1], images[1:], steps=3).shape == (1, 3, 1, 4, 4)
    with refused("images"):
        TOY.encode("no images")


def test_what_is_not_there_names_the_models_that_are() -> None:
    """Each name that the line gives is one that opens."""
    assert shipped() == ["mnist", "mnist-large", "scans", "shapes"]
    with refused("checkpoint=", *shipped()):
        load("mnist-smal")
    for name in shipped():
        assert load(name).denoiser.sigma_max > 0


def test_a_run_is_opened_by_its_folder(tmp_path: Path) -> None:
    with refused("checkpoint=", "no such file or folder"):
        load(tmp_path / "nothing")
    with refused("checkpoint=", "is an empty folder"):
        load(tmp_path)


def test_a_folder_with_a_checkpoint_names_it(tmp_path: Path) -> None:
    """Under a name that no run gives it; what the line says to give opens."""
    write_tiny(tmp_path / "mine.safetensors", classes=3)
    file = tmp_path / "mine.safetensors"
    with refused("checkpoint=", "holds a checkpoint", f"checkpoint={file}"):
        load(tmp_path)
    assert load(file).classes == 3


@pytest.mark.parametrize("name", shipped())
def test_a_model_says_what_it_may_be_conditioned_on(name: str) -> None:
    """In a line, as inspect does; what it says is taken, and nothing else."""
    model = load(name)
    words = ", ".join(model.conditioner.words) or "none"
    assert f"conditions: {words};" in repr(model)
    (row,) = [row for row in sde_diffusion.inspect(model) if row["key"] == "conditions"]
    assert row["value"] == words
    for word in ("label", "prompt", "layout"):
        if word not in model.conditioner.words:
            with refused(f"{word}=7", f"it takes: {words}"):
                model.sample(1, **{word: 7})


def test_a_name_that_is_no_model_has_those_that_are() -> None:
    for name in assets(""):
        if name not in shipped():
            with refused(f"checkpoint={name}: shipped, and no model", *shipped()):
                load(name)
    with refused("checkpoint=shaps", "did you mean shapes?"):
        load("shaps")


@pytest.mark.parametrize("name", ["mnist", "mnist-large"])
def test_records_name_a_shipped_model_as_it_is_called_now(name: str) -> None:
    """Of the model and of its rules: what was recorded under an earlier name can be typed."""
    model = load(name)
    assert model.spec is not None
    assert model.spec.config["init"] == name
    for rules in (f"{name}-calibrated", f"{name}-cfg2-calibrated"):
        made = Calibrated(rules).calibration
        assert made.model.partition(" ")[0] == model.fingerprint
        assert made.facts["model"] == made.facts["config"]["checkpoint"] == name
        assert made.facts["settings"]["checkpoint"] == name
        command = made.facts.get("command", f"checkpoint={name} ")
        assert f"checkpoint={name} " in command


def test_samples_say_themselves_in_a_line() -> None:
    assert "\n" not in repr(TOY.sample(n=2, nfe=2))


def test_a_name_that_is_nearly_one_has_what_python_suggests_from() -> None:
    with pytest.raises(AttributeError) as found:
        sde_diffusion.UniPc  # noqa: B018
    assert (found.value.name, found.value.obj) == ("UniPc", sde_diffusion)
    assert "UniPC" in dir(sde_diffusion)
