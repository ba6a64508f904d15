"""A foreign file, converted, opens to the same function to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sde_diffusion
from tests.models.foreign.files import edm_pickle
from tests.models.foreign.records import image


@pytest.mark.parametrize("name", ["edm_vp", "edm_ncsnpp", "edm_adm"])
@torch.no_grad()
def test_a_converted_pickle_is_the_same_function(tmp_path: Path, name: str) -> None:
    model = sde_diffusion.load(edm_pickle(tmp_path / "net.pkl", name))
    model.save(tmp_path / "ours.safetensors")
    again = sde_diffusion.load(tmp_path / "ours.safetensors")
    x = image(model.denoiser.shape[0])
    for level in (0.1, 1.5, 20.0):
        sigma = torch.tensor(level)
        assert torch.equal(again.denoiser(x, sigma), model.denoiser(x, sigma))
    assert again.classes == model.classes
    assert (again.denoiser.sigma_min, again.denoiser.sigma_max) == (
        model.denoiser.sigma_min, model.denoiser.sigma_max,
    )  # fmt: skip
