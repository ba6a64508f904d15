"""Every yaml is instantiated, and its keys are its constructor's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sde_diffusion.config.compose import build, compose_task, conf_dir, locate, parameters, read
from sde_diffusion.errors import InputError
from sde_diffusion.training.settings import TrainConfig

CONF = Path(conf_dir())
GRIDS = "sde_diffusion.process.grids"
GROUPS = [
    "sde", "grid", "noise", "levels", "weighting", "ema", "schedule", "data",
    "extractor", "metric", "tracker", "solver",
]  # fmt: skip
COMPONENTS = [path for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
REQUIRED: dict[str, dict[str, Any]] = {
    "grid/explicit": {"levels": [80.0, 1.0, 0.002]},
    "extractor/pca": {"fit": "digits"},
    "extractor/dinov2": {"file": "nosuch"},
    "extractor/torchscript": {"file": "nosuch"},
    "levels/sde": {"sde": {"_target_": "sde_diffusion.process.sde.VP"}},
    "levels/importance": {"sde": {"_target_": "sde_diffusion.process.sde.VP"}},
    "weighting/likelihood": {"levels": {"_target_": "sde_diffusion.training.levels.LogUniform"}},
}
NEEDS_FILES = {
    "data/cifar10", "data/fashion_mnist", "data/folder", "data/huggingface", "data/mnist",
    "data/npz", "data/vectors", "extractor/dinov2", "extractor/inception", "extractor/torchscript",
}  # fmt: skip


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> Any:
    node = OmegaConf.load(path)
    node.pop("defaults", None)
    return OmegaConf.merge(node, REQUIRED.get(name_of(path), {}))


@pytest.mark.parametrize("path", COMPONENTS, ids=name_of)
def test_keys_are_the_arguments(path: Path) -> None:
    node = load(path)
    assert set(node) - {"_target_"} == set(parameters(locate(node._target_, "x")))


@pytest.mark.parametrize("path", COMPONENTS, ids=name_of)
def test_every_yaml_is_instantiated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SDE_DIFFUSION_INCEPTION", "MNIST_ROOT", "FASHION_MNIST_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    if name_of(path) in NEEDS_FILES:
        with pytest.raises(InputError, match=rf"^{path.parent.name}[.=]"):
            build(load(path), path.parent.name)
    else:
        assert build(load(path), path.parent.name) is not None


@pytest.mark.parametrize("name", [p.stem for p in sorted((CONF / "guidance").glob("*.yaml"))])
def test_guidance_yaml_keys(name: str) -> None:
    node = compose_task(["task=sample", f"guidance={name}"]).guidance[name]
    assert set(node) - {"_target_"} == set(parameters(locate(node._target_, "x"))) - {"inner"}


@pytest.mark.parametrize("name", [p.stem for p in sorted((CONF / "augment").glob("*.yaml"))])
def test_augment_yaml_keys(name: str) -> None:
    node = compose_task(["task=train", f"augment={name}"]).augment[name]
    assert set(node) - {"_target_"} == set(parameters(locate(node._target_, "x")))


@pytest.mark.parametrize("task", [p.stem for p in sorted((CONF / "task").glob("*.yaml"))])
def test_every_task_composes(task: str) -> None:
    assert compose_task([f"task={task}"]).task == task


@pytest.mark.parametrize("name", [p.stem for p in sorted((CONF / "experiment").glob("*.yaml"))])
def test_every_experiment_composes(name: str) -> None:
    config = compose_task(["task=train", f"experiment={name}"])
    assert read(config, TrainConfig, "device").steps >= 1000


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "os.system", "command": "true"}, "os.system"),
        ({"_target_": "sde_diffusion.system.storage.os.system"}, "not a class"),
        ({"_target_": "builtins.eval"}, "not a class"),
        ({"_target_": "sde_diffusion.nosuch.Thing"}, "nosuch"),
        ({"_target_": "sde_diffusion.process.sde.VP", "beta": 3}, "grid.beta: unknown key"),
        (
            {"_target_": "sde_diffusion.process.grids.Karras", "rho": "x"},
            "grid.rho=x: give a number",
        ),
        (
            {"_target_": "sde_diffusion.process.grids.Explicit", "levels": "???"},
            "grid.levels: required",
        ),
        ({"rho": 3}, "not a component"),
    ],
)
def test_build_refuses_in_one_line(node: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build(OmegaConf.create(node), "grid")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
