"""How a network is carried out: keys change rounding alone, and a slow type is said to be so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sde_diffusion.denoisers.arithmetic import flags, networks, slower
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
