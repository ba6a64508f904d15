"""Every network and denoiser yaml builds, and lists every argument that can be chosen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from sde_diffusion import networks
from sde_diffusion.config.compose import conf_dir, parameters
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS
from sde_diffusion.models.file import Spec, shapes
from sde_diffusion.networks.registry import find
from tests.networks.small import YAMLS, load, shape_of, small_args

DENOISERS = sorted((Path(conf_dir()) / "denoiser").glob("*.yaml"))
FROM_DATA = {"channels", "classes", "augment"}


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_network_yaml_lists_what_data_do_not_say(path: Path) -> None:
    node = load(path)
    assert set(node) == {"name", "args"}
    assert set(node["args"]) == set(parameters(find(node["name"]))) - FROM_DATA


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_network_yaml_states_its_size(path: Path) -> None:
    """Built whole, without memory: as many weights as its comment says."""
    stated = re.search(
        r"^# ([\d,]+) weights with channels=(\d), classes=0\.$", path.read_text(), re.M
    )
    assert stated is not None
    count, channels = int(stated[1].replace(",", "")), int(stated[2])
    node = load(path)
    args = {**node["args"], "channels": channels, "classes": 0}
    with torch.device("meta"):
        network = networks.build(node["name"], args)
    assert sum(p.numel() for p in network.parameters()) == count
    # A checkpoint's check finds the same shapes.
    found = shapes(Spec(node["name"], args, "karras", {}, (channels, 64, 64)))
    assert found == {name: value.shape for name, value in network.state_dict().items()}


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_network_yaml_is_for_the_sizes_that_it_names(path: Path) -> None:
    """Shapes alone, so that whole presets can be asked."""
    node = load(path)
    sides = {"32": [28, 32], "64": [64], "mnist": [28], "small": [8], "mlp": []}
    with torch.device("meta"):
        network = networks.build(node["name"], {**node["args"], "channels": 3}).to("meta")
        for side in sides[path.stem.split("_")[-1]]:
            x = torch.zeros(2, 3, side, side)
            assert network(x, torch.zeros(2)).shape == x.shape


@pytest.mark.parametrize("path", DENOISERS, ids=lambda p: p.stem)
def test_a_denoiser_yaml_is_one_parameterization(path: Path) -> None:
    node = load(path)
    assert set(node) == {"name", "args", "sigma_min", "sigma_max"}
    assert node["name"] == path.stem
    assert set(node["args"]) == set(parameters(PARAMETERIZATIONS[node["name"]]))


def test_every_parameterization_has_a_yaml() -> None:
    assert [p.stem for p in DENOISERS] == sorted(PARAMETERIZATIONS)


@pytest.mark.parametrize("network", YAMLS, ids=lambda p: p.stem)
@pytest.mark.parametrize("denoiser", DENOISERS, ids=lambda p: p.stem)
def test_every_pair_denoises(network: Path, denoiser: Path) -> None:
    net, den, shape = load(network), load(denoiser), shape_of(network)
    spec = Spec(
        net["name"],
        small_args(network, channels=shape[0], classes=10),
        den["name"],
        den["args"],
        shape,
        den["sigma_min"],
        den["sigma_max"],
    )
    d = spec.build().eval()
    for sigma in (0.002, 1.0, 80.0):
        if not den["sigma_min"] <= sigma <= den["sigma_max"]:
            continue
        out = d(torch.randn(2, *shape), torch.tensor(sigma))
        assert out.shape == (2, *shape)
        assert bool(out.isfinite().all())
