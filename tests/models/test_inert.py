"""Pickles read as data: what they hold comes out, what they would run does not."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.models import inert
from tests.models.foreign.files import edm_bytes, legacy_torch_bytes, namespace, torch_file


class Runs:
    """What a hostile pickle does: call a function of its choice."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def test_tensors_come_out_of_every_kind_of_file(tmp_path: Path) -> None:
    content = {"w": torch.randn(3, 4)[:, ::2], "half": torch.ones(2).half(), "step": 7}
    content |= {
        "n": torch.arange(5),
        "empty": torch.zeros(0),
        "p": torch.nn.Parameter(torch.ones(1)),
    }
    files = {
        "zip": torch_file(tmp_path / "zip", content).read_bytes(),
        "legacy": legacy_torch_bytes(content),
        "plain": pickle.dumps(content),
    }
    for name, written in files.items():
        (tmp_path / name).write_bytes(written)
        read = inert.read(tmp_path / name)
        assert read["step"] == 7
        for key, value in content.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(read[key], value.detach())
                assert read[key].dtype == value.dtype


def test_numpy_and_namespaces_are_values(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "f", {"args": namespace(model="DiT-XL/2")})
    assert inert.read(path)["args"]["model"] == "DiT-XL/2"
    path.write_bytes(edm_bytes({"a": np.arange(6.0).reshape(2, 3), "s": np.float64(0.5)}))
    content = inert.read(path)
    assert content["s"] == 0.5
    assert np.array_equal(content["a"].value, np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    "content",
    [
        Runs(os.system, "touch ran"),
        {"ema": Runs(eval, "open('ran', 'w')")},
        [torch.ones(1), Runs(exec, "open('ran', 'w')")],
        Runs(torch.load, "ran"),
        Runs(getattr, "x", "upper"),
        Runs(np.load, "ran"),
        Path("ran"),
        slice(1),
        torch.nn.Linear(1, 1),
    ],
    ids=lambda c: type(c).__name__,
)
@pytest.mark.parametrize("kind", ["plain", "zip", "legacy"])
def test_nothing_in_a_file_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "f"
    if kind == "zip":
        torch_file(path, content)
    else:
        path.write_bytes(pickle.dumps(content) if kind == "plain" else legacy_torch_bytes(content))
    with pytest.raises(InputError, match="nothing of it was run") as caught:
        inert.read(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def _tensor(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    bare = torch.ones(4).untyped_storage()
    storage = torch.storage.TypedStorage(wrap_storage=bare, dtype=torch.float32, _internal=True)
    rebuild = torch._utils._rebuild_tensor_v2
    return pickle.dumps(Runs(rebuild, storage, offset, size, stride, False, {}))


@pytest.mark.parametrize(
    "content",
    [
        _tensor((10**12,), (0,)),
        _tensor((5,), (1,)),
        _tensor((2,), (1,), 3),
        _tensor((-1,), (1,)),
        pickle.dumps({"x": torch.ones(4)})[:-20],
        b"\x80\x04" + b"r\xff\xff\xff\xff" + b".",
        b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"x.",
        b"",
    ],
    ids=range(9),
)
def test_sizes_that_lie_are_refused_before_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(InputError, match="nothing of it was run"):
        inert.read(path)


def test_a_compressed_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("f/data.pkl", b"\x80\x02}.")
        file.writestr("f/data/0", bytes(2**22))
    with pytest.raises(InputError, match="a compressed entry"):
        inert.read(path)


def _tree(depth: int, twice: bool = False) -> inert.Persistent:
    """Modules in one another; ``twice``: each is the only two children of the one above."""
    module = inert.Persistent({"class_name": "Layer", "state": {"_parameters": {}}})
    for _ in range(depth):
        children = {"a": module, "b": module} if twice else {"a": module}
        module = inert.Persistent({"class_name": "Layer", "state": {"_modules": children}})
    return module


def _circle() -> inert.Persistent:
    module = _tree(1)
    module.state["_modules"]["a"] = module
    return module


@pytest.mark.parametrize(
    "module",
    [
        _tree(5000),
        _tree(60, twice=True),
        _circle(),
        inert.Persistent({"class_name": "Layer", "state": {"_modules": {"a": 7}}}),
        inert.Persistent({"class_name": "Layer", "state": {"_modules": [7]}}),
    ],
    ids=["deep", "doubling", "circle", "number", "list"],
)
def test_a_tree_that_is_no_network_is_one_line(module: inert.Persistent) -> None:
    with pytest.raises(InputError, match="its modules are no network's") as caught:
        list(inert.tensors(module))
    assert "\n" not in str(caught.value)


def test_a_tree_of_modules_gives_its_tensors_in_order() -> None:
    leaf = {"_parameters": {"w": torch.ones(1), "none": None}, "_buffers": {"b": torch.zeros(1)}}
    module = inert.Persistent({"class_name": "Layer", "state": leaf})
    outer = {"_parameters": {"v": torch.ones(2)}, "_modules": {"1": module, "0": module, "x": None}}
    tree = inert.Persistent({"class_name": "Net", "state": outer})
    assert [n for n, _ in inert.tensors(tree)] == ["v", "1.w", "1.b", "0.w", "0.b"]
