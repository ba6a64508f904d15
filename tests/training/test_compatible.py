"""Starting from the weights of another model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sde_diffusion.config.compose import compose_task
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import read_checkpoint, save_checkpoint
from sde_diffusion.tasks.train import specified
from sde_diffusion.training.augment import AugmentChain
from sde_diffusion.training.checkpoints import CHECKPOINT, MODEL
from sde_diffusion.training.compatible import start_from
from tests.refusals import refused
from tests.training.small import ARGS, CONFIG, SPEC, finish, tensors, trainer


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("parent")
    finish(trainer(folder))
    return folder


def test_training_starts_from_the_averaged_weights(tmp_path: Path, parent: Path) -> None:
    config = replace(CONFIG, init=str(parent / MODEL), seed=9)
    run = trainer(tmp_path, config)
    weights = read_checkpoint(parent / MODEL, "model.")[1]
    for state in (run.denoiser.network.state_dict(), run.state.ema.network.state_dict()):
        assert all(torch.equal(state[name], value.float()) for name, value in weights.items())
    finish(run)
    recorded = read_checkpoint(tmp_path / CHECKPOINT)[0].config["run"]["train"]["init"]
    assert len(recorded) == 16  # its content, not its name


def test_a_resumed_run_does_not_start_again(tmp_path: Path, parent: Path) -> None:
    start = tmp_path / "start.safetensors"
    start.write_bytes((parent / MODEL).read_bytes())
    config = replace(CONFIG, init=str(start))
    for metrics in trainer(tmp_path / "run", config).run():
        if metrics["step"] == 4:
            break
    start.unlink()  # no longer needed
    resumed = trainer(tmp_path / "run", config)
    assert resumed.step == 3
    finish(resumed)
    whole = replace(CONFIG, init=str(parent / MODEL))
    finish(trainer(tmp_path / "whole", whole))
    one, two = tensors(tmp_path / "run"), tensors(tmp_path / "whole")
    assert all(torch.equal(one[name], two[name]) for name in one)
    for other in (CONFIG, replace(CONFIG, init=str(parent / CHECKPOINT))):
        with pytest.raises(InputError, match="another init;"):
            trainer(tmp_path / "run", other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"parameterization": "v", "parameterization_args": {}},
            "parameterization=karras, not unet, v",
        ),
        ({"network_args": {**ARGS, "widths": [8, 16]}}, "its weights do not fit"),
    ],
)
def test_weights_of_another_model_are_refused(
    tmp_path: Path, parent: Path, change: dict[str, object], message: str
) -> None:
    config = replace(CONFIG, init=str(parent / MODEL))
    with pytest.raises(InputError, match=f"^init=.*{message}"):
        trainer(tmp_path, config, replace(SPEC, **change))  # type: ignore[arg-type]


def test_the_shipped_model_does_not_fit_any_network(tmp_path: Path) -> None:
    with refused("init=mnist"):
        trainer(tmp_path, replace(CONFIG, init="mnist"))


def test_the_shipped_model_fits_the_network_of_its_recipe() -> None:
    config = compose_task(["task=train", "experiment=mnist"])
    data = ImageSet(torch.zeros(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64), 10, "empty")
    spec = specified(config, data, AugmentChain())
    network = spec.build().network
    start_from("mnist", spec, network)
    shipped = load("mnist").denoiser.network.state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in network.state_dict().items())


def test_a_start_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch: no such file"):
        trainer(tmp_path, replace(CONFIG, init="nosuch"))


def test_weights_that_are_no_numbers_are_no_start(tmp_path: Path, parent: Path) -> None:
    spec, weights = read_checkpoint(parent / MODEL)
    path = tmp_path / "bad.safetensors"
    save_checkpoint(path, spec, {name: value * math.nan for name, value in weights.items()})
    with refused("init=", "bad.safetensors"):
        trainer(tmp_path / "run", replace(CONFIG, init=str(path)))
