"""Thirty folders that lie: each is one line, runs nothing, and asks for little memory."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import sde_diffusion as sd
from sde_diffusion.errors import InputError

pytest.importorskip("diffusers", reason="diffusers is not installed; see [pretrained]")
from tests.models.test_diffusers import unet, written

NET, WEIGHTS = Path("unet/config.json"), Path("unet/diffusion_pytorch_model.safetensors")
INDEX, SCHEDULE = Path("model_index.json"), Path("scheduler/scheduler_config.json")
MOST = 64 * 2**20


class Runs:
    """What a pickle would run: it makes the folder ``ran`` where it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("ran",)


def edit(file: Path, **change: Any) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        held = json.loads((path / file).read_text())
        (path / file).write_text(json.dumps({**held, **change}))

    return apply


def text(file: Path, content: bytes) -> Callable[[Path], None]:
    return lambda path: (path / file).write_bytes(content) and None


def cut(path: Path) -> None:
    content = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(content[: len(content) // 2])


def long_header(path: Path) -> None:
    content = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes((2**62).to_bytes(8, "little") + content[8:])


def other_shape(path: Path) -> None:
    held = load_file(path / WEIGHTS)
    save_file({name: value.flatten() for name, value in held.items()}, path / WEIGHTS)


def one_missing(path: Path) -> None:
    held = load_file(path / WEIGHTS)
    held.popitem()
    save_file(held, path / WEIGHTS)


def whole_numbers(path: Path) -> None:
    held = load_file(path / WEIGHTS)
    save_file({name: value.to(torch.int8) for name, value in held.items()}, path / WEIGHTS)


def one_more(path: Path) -> None:
    save_file({**load_file(path / WEIGHTS), "x": torch.zeros(1)}, path / WEIGHTS)


def binary(content: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        (path / WEIGHTS).unlink()
        content((path / WEIGHTS).with_suffix(".bin"))

    return apply


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**26)


def legacy(path: Path) -> None:
    torch.save({"x": Runs()}, path, _use_new_zipfile_serialization=False)


def shards(**files: Any) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        (path / WEIGHTS).unlink()
        index = {"weight_map": files.get("weight_map", files)}
        (path / f"{WEIGHTS}.index.json").write_text(json.dumps(index))

    return apply


HOSTILE: dict[str, Callable[[Path], None]] = {
    "index is no JSON": text(INDEX, b"{"),
    "index is a list": text(INDEX, b"[]"),
    "index is deep": text(INDEX, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "index names a key twice": text(INDEX, b'{"unet": 1, "unet": 2}'),
    "a library of the folder": edit(INDEX, unet=["modeling_mine", "UNet2DModel"]),
    "a library by path": edit(INDEX, scheduler=["../../evil", "DDPMScheduler"]),
    "a part by one word": edit(INDEX, unet="diffusers.UNet2DModel"),
    "a part in two lists": edit(INDEX, unet=[["diffusers", "UNet2DModel"]]),
    "another class than its config": edit(INDEX, unet=["diffusers", "UNet2DConditionModel"]),
    "no folder of its network": lambda path: shutil.rmtree(path / "unet"),
    "whole numbers as weights": whole_numbers,
    "a pointer of Git LFS": text(WEIGHTS, b"version https://git-lfs.github.com/spec/v1"),
    "trained betas as text": edit(SCHEDULE, trained_betas=[0.1, "x"]),
    "a part of three": edit(INDEX, unet=["diffusers", "UNet2DModel", "x"]),
    "two networks": edit(INDEX, transformer=["diffusers", "DiTTransformer2DModel"]),
    "a part unknown here": edit(INDEX, safety_checker=["diffusers", "os.system"]),
    "config is no JSON": text(NET, b"\xff\xfe"),
    "another class": edit(NET, _class_name="os.system"),
    "a class of another library": edit(NET, _class_name="AutoModel"),
    "a billion layers": edit(NET, layers_per_block=10**9),
    "wide layers": edit(NET, block_out_channels=[10**8, 10**8]),
    "an argument unknown": edit(NET, quantization_config={"load": "code"}),
    "a size of text": edit(NET, sample_size="eight"),
    "a size beyond memory": edit(NET, sample_size=10**9),
    "classes without number": edit(NET, num_class_embeds="ten"),
    "other channels": edit(NET, in_channels=7),
    "blocks by the name of code": edit(NET, down_block_types=["__import__", "DownBlock2D"]),
    "scheduler is no JSON": text(SCHEDULE, b"nan"),
    "scheduler of the folder": edit(INDEX, scheduler=["diffusers", "MyScheduler"]),
    "betas as text": edit(SCHEDULE, beta_start="1e-4"),
    "a billion timesteps": edit(SCHEDULE, num_train_timesteps=10**9),
    "weights cut short": cut,
    "a header of 2^62 bytes": long_header,
    "weights of another shape": other_shape,
    "a weight missing": one_missing,
    "a weight too many": one_more,
    "a pickle that runs": binary(lambda path: torch.save({"x": Runs()}, path)),
    "an old pickle that runs": binary(legacy),
    "a pickle that unpacks to 64 MB": binary(bomb),
    "a shard outside the folder": shards(x="../../secret.safetensors"),
    "a shard that is not there": shards(x="other.safetensors"),
    "shards without a map": shards(weight_map=[1, 2]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder_that_lies_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(HOSTILE) >= 30
    path = written(tmp_path / "folder", unet())
    HOSTILE[name](path)
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"^checkpoint=") as caught:
        sd.load(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert most < MOST
    assert not (tmp_path / "ran").exists()
