"""Every network and denoiser yaml builds, and lists every argument that can be chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from sde_diffusion.checkpoint import Spec
from sde_diffusion.config import conf_dir, parameters
from sde_diffusion.networks.registry import find
from sde_diffusion.parameterization import PARAMETERIZATIONS

CONF = Path(conf_dir())
NETWORKS = sorted((CONF / "network").glob("*.yaml"))
DENOISERS = sorted((CONF / "denoiser").glob("*.yaml"))
FROM_DATA = {"channels", "classes"}


def load(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert type(content) is dict
    return {str(key): value for key, value in content.items()}


@pytest.mark.parametrize("path", NETWORKS, ids=lambda p: p.stem)
def test_a_network_yaml_lists_what_data_do_not_say(path: Path) -> None:
    node = load(path)
    assert set(node) == {"name", "args"}
    assert set(node["args"]) == set(parameters(find(node["name"]))) - FROM_DATA


@pytest.mark.parametrize("path", DENOISERS, ids=lambda p: p.stem)
def test_a_denoiser_yaml_is_one_parameterization(path: Path) -> None:
    node = load(path)
    assert set(node) == {"name", "args", "sigma_min", "sigma_max"}
    assert node["name"] == path.stem
    assert set(node["args"]) == set(parameters(PARAMETERIZATIONS[node["name"]]))


def test_every_parameterization_has_a_yaml() -> None:
    assert [p.stem for p in DENOISERS] == sorted(PARAMETERIZATIONS)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda p: p.stem)
@pytest.mark.parametrize("denoiser", DENOISERS, ids=lambda p: p.stem)
def test_every_pair_denoises(network: Path, denoiser: Path) -> None:
    net, den = load(network), load(denoiser)
    spec = Spec(
        net["name"],
        {**net["args"], "channels": 1, "classes": 10},
        den["name"],
        den["args"],
        (1, 8, 8),
        den["sigma_min"],
        den["sigma_max"],
    )
    d = spec.build().eval()
    for sigma in (0.002, 1.0, 80.0):
        out = d(torch.randn(2, 1, 8, 8), torch.tensor(sigma))
        assert out.shape == (2, 1, 8, 8)
        assert bool(out.isfinite().all())
