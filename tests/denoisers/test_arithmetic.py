"""How a network is carried out: keys change rounding alone, and a slow type is said to be so."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sde_diffusion.config import yaml_files
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.denoisers import arithmetic
from sde_diffusion.denoisers.arithmetic import flags, networks, slower
from sde_diffusion.face.load import load
from sde_diffusion.guidance import Clip, Guided
from sde_diffusion.models.sources import open_model
from tests.conftest import Run

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("line", "slow"),
    [
        ("flags\t\t: fpu avx2 avx512f", True),
        ("flags\t\t: fpu avx512f avx512_bf16", False),
        ("Features\t: fp asimd bf16", False),
        ("model name\t: some", False),  # says nothing, and so does the notice
    ],
)
def test_bfloat16_is_said_to_be_slow_where_the_processor_lacks_it(
    tmp_path: Path, line: str, slow: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    said = slower("bfloat16", CPU, tmp_path / "cpuinfo")
    assert bool(said) == slow
    assert not slow or said.endswith("precision=float32 is faster here")
    assert slower("float32", CPU, tmp_path / "cpuinfo") == ""
    assert slower("bfloat16", GPU, tmp_path / "cpuinfo") == ""
    assert flags(tmp_path / "none") == set()


def test_networks_are_seen_through_wrappers(tiny_model: str) -> None:
    denoiser = open_model(tiny_model).denoiser
    assert networks(Guided(denoiser, Clip())) == networks(denoiser)
    assert len(networks(denoiser)) == 1


def test_channels_last_draws_the_same_to_rounding(
    tmp_path: Path, quick_cli: Run, tiny_model: str
) -> None:
    words = ["sample", f"checkpoint={tiny_model}", "n=4", "nfe=4"]
    quick_cli(*words, "hydra.run.dir=a")
    quick_cli(*words, "channels_last=true", "hydra.run.dir=b")
    a, b = (np.load(tmp_path / name / "samples.npz")["images"].astype(int) for name in "ab")
    assert int(abs(a - b).max()) <= 1
    assert a.std() > 1


def test_every_task_that_asks_a_model_says_how_its_network_works() -> None:
    """And ``load``, of which Python's calls are."""
    keys = {"precision", "channels_last", "compile"}
    tasks = {path.stem: yaml_files.load(path) for path in Path(conf_dir(), "task").glob("*.yaml")}
    del tasks["export"]  # writes a network, however it would be carried out
    asking = {name: task for name, task in tasks.items() if {"checkpoint", "batch_size"} <= {*task}}
    assert len(asking) >= 6
    assert {name: keys - {*task} for name, task in asking.items() if keys - {*task}} == {}
    assert keys <= {*inspect.signature(load).parameters}


@pytest.mark.parametrize("task", ["edit", "interpolate", "python"])
def test_weights_lie_channel_by_channel_where_asked(
    task: str, tmp_path: Path, quick_cli: Run, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out: list[nn.Module] = []
    monkeypatch.setattr(arithmetic, "channels_last", laid_out.append)
    if task == "python":
        load(tiny_model, channels_last=True)
    else:
        np.savez(tmp_path / "two.npz", np.zeros((2, 8, 8, 1), np.uint8))
        Image.new("L", (8, 8)).save(tmp_path / "one.png")
        given = {"edit": ["image=one.png", "operator=downsample", "simulate=true", "nfe=2", "n=1"],
                 "interpolate": ["images=two.npz", "pairs=1", "steps=2", "error=0.1"]}  # fmt: skip
        words = [task, f"checkpoint={tiny_model}", *given[task], "hydra.run.dir=out"]
        quick_cli(*words, "channels_last=true")
    assert len(laid_out) == 1
