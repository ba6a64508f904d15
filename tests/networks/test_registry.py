"""The registry: names, and networks of other installed packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from sde_diffusion import networks
from sde_diffusion.errors import InputError
from sde_diffusion.models.file import load_denoiser, save_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks import registry

SOURCE = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Conv2d(1, 1, width, padding="same")

    def forward(self, x, c_noise, cond=None):
        return self.net(x)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed distribution that declares two networks, one of them missing its module."""
    (tmp_path / "faraway_nets.py").write_text(SOURCE)
    info = tmp_path / "faraway-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faraway\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sde_diffusion.networks]\ntiny = faraway_nets:Tiny\nlost = faraway_gone:Net\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "tiny"
    registry._REGISTRY.pop("tiny", None)


def test_an_installed_package_adds_a_network(package: str, tmp_path: Path) -> None:
    assert package in networks.names()
    spec = Spec(package, {"width": 3}, "epsilon", {}, (1, 4, 4))
    weights = spec.build().network.state_dict()
    save_checkpoint(tmp_path / "m.safetensors", spec, {f"model.{k}": v for k, v in weights.items()})
    _, denoiser = load_denoiser(tmp_path / "m.safetensors")
    x = torch.ones(2, 1, 4, 4)
    assert torch.allclose(denoiser(x, torch.tensor(1.0)), x - denoiser.network(x / 2**0.5, x))


def test_a_package_that_does_not_load_is_named(package: str) -> None:
    with pytest.raises(InputError, match="network=lost: its package does not load"):
        networks.build("lost", {})


def test_without_the_package_the_name_is_unknown() -> None:
    with pytest.raises(InputError, match="network=tiny: not a registered network"):
        networks.build("tiny", {"width": 3})


def test_wrong_arguments_are_one_line() -> None:
    with pytest.raises(InputError, match=r"network=UNet: .*breadth.*it takes channels") as caught:
        networks.build("unet", {"breadth": 3})
    assert "\n" not in str(caught.value)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        networks.register("unet")(nn.Identity)
    assert networks.register("unet")(networks.UNet) is networks.UNet
