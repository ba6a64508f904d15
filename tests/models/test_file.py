"""Checkpoints: round trips, and what a torn or foreign file can do, which is nothing."""

from __future__ import annotations

import ast
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import sde_diffusion
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.models.file import load_denoiser, read_checkpoint, save_checkpoint, shapes
from sde_diffusion.models.spec import Spec
from tests.sealed_files import resealed

ARGS = {
    "channels": 1,
    "widths": [8, 8],
    "blocks": 1,
    "attention": [],
    "patch": 1,
    "embedding": 8,
    "classes": 3,
}
SPEC = Spec("unet", ARGS, "karras", {"sigma_data": 1.0}, (1, 4, 4), classes=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good checkpoint with random weights."""
    torch.manual_seed(0)
    network = SPEC.build().network
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    save_checkpoint(
        tmp_path / "m.safetensors", SPEC, {f"model.{k}": v for k, v in network.state_dict().items()}
    )
    return tmp_path / "m.safetensors"


def refusal(path: Path) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(InputError) as caught:
        load_denoiser(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"checkpoint={path}: ")
    assert len(message) < len(str(path)) + 400
    return message


def rewrite(path: Path, change: dict[str, Any], drop: str = "") -> None:
    """Change the metadata of a checkpoint, keeping its tensors."""
    resealed(path, change, drop=(drop,))


def unsealed_with(path: Path, change: dict[str, Any], drop: str = "") -> None:
    """The same in a file as revision 7a19cb7 wrote it."""
    entries = {"format": 1, **asdict(SPEC), **change}
    entries.pop(drop, None)
    save_file(load_file(path), path, {"sde_diffusion": json.dumps(entries)})


CONTAINERS = pytest.mark.parametrize("write", [rewrite, unsealed_with], ids=["sealed", "first"])
Write = Callable[..., None]


def test_round_trip(path: Path) -> None:
    spec, denoiser = load_denoiser(path)
    assert spec == SPEC
    _, again = load_denoiser(path, torch.float64)
    x, cond = torch.randn(2, 1, 4, 4, dtype=torch.float64), Condition.label([0, 2])
    sigma = torch.tensor(0.7, dtype=torch.float64)
    assert torch.allclose(denoiser(x, sigma, cond), again(x, sigma, cond), atol=1e-5)
    assert not denoiser.training
    assert not any(p.requires_grad for p in denoiser.parameters())


def test_a_prefix_reads_only_its_tensors(path: Path) -> None:
    _, tensors = read_checkpoint(path, prefix="model.head.")
    assert sorted(tensors) == ["bias", "weight"]


def test_shapes_are_found_without_memory() -> None:
    wide = replace(SPEC, network_args={**ARGS, "widths": [8192] * 8, "blocks": 64})
    assert shapes(wide)["down.7.64.conv_in.weight"] == (8192, 8192, 3, 3)
    real = SPEC.build().network.state_dict()
    assert shapes(SPEC) == {name: value.shape for name, value in real.items()}


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.999])
def test_a_torn_file_is_one_line(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "torn" in refusal(path)


def test_other_files_are_one_line(path: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, foreign)
    assert "format" in refusal(foreign)
    foreign.write_bytes(path.read_bytes())
    resealed(foreign, number=9)
    assert "format 9" in refusal(foreign)
    foreign.write_bytes(b"\x80\x04" + b"cos\nsystem\n(S'true'\ntR." * 20)  # a pickle
    assert "torn" in refusal(foreign)
    assert "no such file" in refusal(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("name", ["os.system", "sde_diffusion.networks.unet.UNet", "", "eval"])
@CONTAINERS
def test_a_network_outside_the_registry_is_refused(write: Write, path: Path, name: str) -> None:
    write(path, {"network": name, "network_args": {"command": "true"}})
    assert "not a registered network" in refusal(path)


@CONTAINERS
def test_a_parameterization_outside_the_registry_is_refused(write: Write, path: Path) -> None:
    write(path, {"parameterization": "os.system"})
    assert "choose one of" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"network": ["unet"]},
        {"network_args": "unet"},
        {"network_args": None},
        {"network_args": {**ARGS, "_target_": "os.system"}},
        {"network_args": {**ARGS, "widths": "wide"}},
        {"network_args": {**ARGS, "widths": []}},
        {"network_args": {**ARGS, "widths": [8, "8"]}},
        {"network_args": {**ARGS, "widths": [8.5, 8]}},
        {"network_args": {**ARGS, "widths": [[8]]}},
        {"network_args": {**ARGS, "channels": "1"}},
        {"network_args": {**ARGS, "attention": 1}},
        {"parameterization_args": {"sigma": 1}},
        {"parameterization_args": {"sigma_data": -1}},
        {"parameterization_args": {"sigma_data": "1"}},
        {"shape": 28},
        {"shape": []},
        {"shape": [1, "8", 8]},
        {"shape": [1, 0, 8]},
        {"sigma_min": "0.1"},
        {"sigma_min": 5.0, "sigma_max": 1.0},
        {"sigma_min": float("nan")},
        {"shape": [1, 10**6, 10**6]},
        {"shape": [3, 4, 4]},
        {"classes": 4},
        {"classes": -1},
        {"step": -1},
        {"step": 10**300},
        {"classes": "ten"},
        {"step": 1.5},
        {"config": []},
    ],
    ids=str,
)
@CONTAINERS
def test_wrong_metadata_is_one_line(write: Write, path: Path, change: dict[str, Any]) -> None:
    write(path, change)
    refusal(path)


@CONTAINERS
def test_unchanged_metadata_loads(write: Write, path: Path) -> None:
    write(path, {})
    assert load_denoiser(path)[0] == SPEC


@pytest.mark.parametrize("drop", ["network", "shape", "sigma_max"])
@CONTAINERS
def test_missing_metadata_is_one_line(write: Write, path: Path, drop: str) -> None:
    write(path, {}, drop)
    refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [8192] * 8},
        {"widths": [8] * 1_000_000},
        {"widths": [10**30, 8]},
        {"embedding": 10**9},
        {"blocks": 10**9},
        {"classes": 10**12},
        {"patch": 2**31},
    ],
    ids=lambda c: next(iter(c)),
)
@CONTAINERS
def test_huge_arguments_cost_no_memory(write: Write, path: Path, change: dict[str, Any]) -> None:
    """[8192] * 8 is a network of tens of GB: refused by its shapes, before memory is taken."""
    write(path, {"network_args": {**ARGS, **change}})
    refusal(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "1", '"text"', "null", '{"format": ' + "9" * 10_000 + "}"]
)
def test_metadata_that_is_no_object_is_one_line(path: Path, text: str) -> None:
    save_file({"w": torch.zeros(2)}, path, {"sde_diffusion": text})
    refusal(path)


def test_a_damaged_file_of_the_first_format_is_refused(path: Path) -> None:
    tensors = load_file(path)
    sums = {name: zlib.crc32(t.numpy().tobytes()) for name, t in tensors.items()}
    unsealed_with(path, {"crc32": sums})
    assert load_denoiser(path)[0] == SPEC
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert "is damaged" in refusal(path)
    unsealed_with(path, {"format": 2})
    assert "format 1" in refusal(path)


@CONTAINERS
def test_weights_of_another_network_are_refused(write: Write, path: Path) -> None:
    write(path, {"network_args": {**ARGS, "widths": [8, 16]}})
    assert "weights do not fit" in refusal(path)


def test_the_package_reads_no_pickles() -> None:
    """No import of a pickle format, and no call that may unpickle.

    One module knows pickle: the reader of inert names, which gives the unpickler its own classes.
    """
    modules = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    files = sorted(Path(sde_diffusion.__file__).parent.rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported = {alias.name.split(".")[0] for alias in node.names} & modules
                assert imported <= ({"pickle"} if file.name == "inert.py" else set()), file
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
                assert node.attr in ("_Unpickler", "UnpicklingError"), file
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in modules, file
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node), file
            if isinstance(node, ast.Call):
                assert "allow_pickle=True" not in ast.unparse(node), file
