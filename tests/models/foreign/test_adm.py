"""ADM's networks and its DDIM: ours are the same, on weights read from a file of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sde_diffusion
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.labels import StepLabel
from sde_diffusion.errors import InputError
from sde_diffusion.process.few_steps import FewSteps
from tests.models.foreign.files import torch_file
from tests.models.foreign.records import N, image, record, start
from tests.refusals import refused

# Heads (0: of 16 channels) and the order of attention rows, which the files do not say.
GIVEN = {"adm_legacy": (0, False), "adm_new": (2, True), "adm_plain": (1, False)}


def opened(tmp_path: Path, name: str) -> sde_diffusion.Model:
    """The model of a file in ADM's layout, whose side is the recorded 8."""
    heads, new_order = GIVEN[name]
    path = torch_file(tmp_path / "adm.pkl", record(name).state)
    return sde_diffusion.load(
        path, size=8, schedule="linear", heads=heads, head_width=16, new_order=new_order
    )


@torch.no_grad()
def gaps(tmp_path: Path, name: str) -> tuple[float, float]:
    """Of F at eight steps, with or without labels, and of five steps of DDIM; relative to the
    largest values."""
    model, tensors = opened(tmp_path, name), record(name).tensors
    labels = Condition.label(torch.arange(N) % 5) if model.classes else None
    network = model.denoiser.network
    table = StepLabel().sigmas
    levels = torch.tensor([float(table[int(t)]) for t in tensors["t"]], dtype=torch.float64)
    levels[4] = (table[333] * table[334]).sqrt()
    told = model.denoiser.parameterization.c_noise(levels).float()
    assert torch.equal(told, tensors["t"])
    ours = network(image(), told, labels)
    of_network = float((ours - tensors["out"]).abs().max() / tensors["out"].abs().max())

    # ddim5 keeps the steps 0, 200, .., 800, and ends at no noise.
    a = 1 / (1 + table[[800, 600, 400, 200, 0]] ** 2)
    x, cond = start(), None if labels is None else labels[:2]
    for i in range(5):
        alpha = a[i].sqrt()
        level = ((1 - a[i]) / a[i]).sqrt()
        clean = model.denoiser((x / alpha).double(), level, cond)
        n = (x - alpha * clean) / (1 - a[i]).sqrt()
        b = a[i + 1] if i < 4 else torch.tensor(1.0)
        x = b.sqrt() * clean + (1 - b).sqrt() * n
    size = float(tensors["ddim"].abs().max())
    return of_network, float((x - tensors["ddim"]).abs().max()) / size


@pytest.mark.parametrize("name", list(GIVEN))
def test_equal_to_the_authors_at_eight_steps_and_in_ddim(tmp_path: Path, name: str) -> None:
    """F to 1e-5 of its largest value, with and without labels; five steps of DDIM to 1e-4."""
    of_network, of_walk = gaps(tmp_path, name)
    assert of_network <= 1e-5
    assert of_walk <= 1e-4


def test_what_a_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "adm.pkl", record("adm_legacy").state)
    with pytest.raises(InputError, match=r"give size=64.*sde-diffusion convert") as caught:
        sde_diffusion.load(path)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_null_class_refuses_to_go_without(tmp_path: Path) -> None:
    model = opened(tmp_path, "adm_legacy")
    with pytest.raises(InputError, match="knows no absence of a class"):
        model.denoiser(image(), torch.tensor(1.0))
    with pytest.raises(InputError, match="knows no absence of a class"):
        model.denoiser(image(), torch.tensor(1.0), Condition.label([0] * N).dropped())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"size": 8, "heads": 3}, r"heads=3: do not divide \d+ channels"),
        ({"size": 7, "heads": 2}, r"size=7: .* give a multiple of 2"),
    ],
)
def test_what_the_layers_cannot_be_is_one_line(
    tmp_path: Path, given: dict[str, int], says: str
) -> None:
    path = torch_file(tmp_path / "adm.pt", record("adm_legacy").state)
    with pytest.raises(InputError, match=says) as caught:
        sde_diffusion.load(path, **given)
    assert "\n" not in str(caught.value)


@torch.no_grad()
def test_a_consistency_model_of_the_same_authors(tmp_path: Path) -> None:
    """f = c_skip x + c_out F(c_in x, 250 log sigma), as published, with their rows of attention."""
    facts = record("adm_new")
    path = torch_file(tmp_path / "cd.pt", facts.state)
    model = sde_diffusion.load(path, size=8, heads=2, head_width=16, consistency=True)
    assert model.denoiser.ends
    assert isinstance(model.grid, FewSteps)
    x, level = image()[:2] * 3, torch.tensor(3.0, dtype=torch.float64)
    labels = Condition.label([0, 1]) if model.classes else None
    told = torch.full((2,), 250 * float(level.log()))
    root = float((level**2 + 0.25).sqrt())
    answer = model.denoiser.network(x / root, told, labels)
    skip, out = 0.25 / (2.998**2 + 0.25), 2.998 * 0.5 / root
    expected = skip * x + out * answer
    gap = (model.denoiser(x, level, labels) - expected).abs().max()
    assert float(gap) <= 1e-5 * float(expected.abs().max())
    legacy = sde_diffusion.load(
        path, size=8, heads=2, head_width=16, consistency=True, new_order=False
    )
    assert not torch.allclose(legacy.denoiser(x, level, labels), expected, atol=1e-3)
    with refused("schedule=linear", "leave one of the two out"):
        sde_diffusion.load(path, size=8, consistency=True, schedule="linear")
    with refused("solver:", 'solver="consistency"'):
        model.sample(2, 4, label=0 if model.classes else None)
