"""Changes to a folder of diffusers, by which it is no longer what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Change = Callable[[Path], None]


def spoiled(folder: Path, place: Path, change: Change) -> Path:
    shutil.copytree(folder, place)
    change(place)
    return place


def edited(part: str, **entries: Any) -> Change:
    def change(path: Path) -> None:
        file = path / part
        file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))

    return change


def without(*parts: str) -> Change:
    def change(path: Path) -> None:
        for part in parts:
            file = path / part
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    return change


def part(name: str, make: Callable[[], Any]) -> Change:
    """Another part in the place of one."""

    def change(path: Path) -> None:
        without(name)(path)
        make().save_pretrained(path / name)

    return change


def weights(name: str, make: Callable[[], Any]) -> Change:
    """Another network's weights under the config of one."""

    def change(path: Path) -> None:
        config = (path / name / "config.json").read_text()
        part(name, make)(path)
        (path / name / "config.json").write_text(config)

    return change


def pickled(name: str) -> Change:
    """A part's weights as torch.save writes them."""

    def change(path: Path) -> None:
        without(f"{name}/diffusion_pytorch_model.safetensors")(path)
        torch.save({}, path / name / "diffusion_pytorch_model.bin")

    return change
