"""DiT's and SiT's networks: ours are the same function, on weights read from files of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sde_diffusion
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.models.sources import dit
from sde_diffusion.networks.dit_published import sinusoids_of_places
from tests.models.foreign.files import namespace, torch_file
from tests.models.foreign.records import N, image, record

FAMILIES = ["dit", "sit"]
HEADS = 16


def denoiser_of(family: str) -> NetworkDenoiser:
    """Ours, of the recorded weights."""
    spec, weights, _ = dit.converted(record(family).state, family, HEADS)
    denoiser = spec.build()
    denoiser.network.load_state_dict(weights)
    return denoiser.eval()


def pixels(family: str) -> dict[str, Tensor]:
    """The recorded weights without the fourth channel: a network of pixels."""
    state = dict(record(family).state)
    state["x_embedder.proj.weight"] = state["x_embedder.proj.weight"][:, :3].clone()
    for part in ("weight", "bias"):
        rows = state[f"final_layer.linear.{part}"].unflatten(0, (4, 2, 4))
        state[f"final_layer.linear.{part}"] = rows[:, :, :3].flatten(0, 2).clone()
    return state


@torch.no_grad()
def gap(family: str) -> float:
    """Of F at eight levels, with labels and without, relative to its largest value at a level."""
    tensors, network = record(family).tensors, denoiser_of(family).network
    labels, gaps = Condition.label(torch.arange(N) % 5), []
    for cond, key in ((None, "none"), (labels.dropped(), "none"), (labels, "labelled")):
        apart = (network(image(4), tensors["t"], cond) - tensors[key]).flatten(1).abs().amax(1)
        gaps.append(float((apart / tensors[key].flatten(1).abs().amax(1)).max()))
    return max(gaps)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_the_authors_at_eight_levels(family: str) -> None:
    """F to 1e-5 of its largest value, in float32, with labels and without."""
    assert gap(family) <= 1e-5
    tensors = record(family).tensors
    assert not torch.allclose(tensors["none"], tensors["labelled"], atol=1e-3)


@torch.no_grad()
def test_sit_denoises_from_its_velocity() -> None:
    """x_t = t x_0 + (1 - t) n and v = x_0 - n, so D = x_t + (1 - t) v, at t = 1 / (1 + sigma)."""
    tensors, denoiser, x = record("sit").tensors, denoiser_of("sit"), image(4)
    for i in range(1, N - 1):
        t = float(tensors["t"][i])
        x_t, v = x[i : i + 1].double(), tensors["none"][i : i + 1].double()
        level = torch.tensor(1 / t - 1, dtype=torch.float64)
        ours, expected = denoiser(x_t / t, level), x_t + (1 - t) * v
        assert float((ours - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@torch.no_grad()
def test_dit_denoises_from_its_noise() -> None:
    """D = (x_t - sqrt(1 - a) eps) / sqrt a, where a = prod (1 - beta), at whole steps."""
    tensors, denoiser, x = record("dit").tensors, denoiser_of("dit"), image(4)
    a = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    for i in (0, 1, 2, 3, 5, 6, 7):
        at = a[int(tensors["t"][i])]
        x_t, eps = x[i : i + 1].double(), tensors["none"][i : i + 1].double()
        expected = (x_t - (1 - at).sqrt() * eps) / at.sqrt()
        ours = denoiser(x_t / at.sqrt(), ((1 - at) / at).sqrt())
        assert float((ours - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_positions_are_the_published_ones() -> None:
    stored = record("dit").tensors["kept.pos_embed"][0]
    assert torch.allclose(sinusoids_of_places(4, 64), stored, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_files_are_opened_by_their_content(tmp_path: Path, family: str) -> None:
    """Bare weights with the family given; a training's file by its args, of its average."""
    state = pixels(family)
    bare = torch_file(tmp_path / "net.bin", state)
    zeros = {k: torch.zeros_like(v) for k, v in state.items()}
    args = namespace(model=f"{family[0].upper()}iT-XL/2")
    whole = torch_file(tmp_path / "run.pt", {"model": zeros, "ema": state, "opt": {}, "args": args})
    one = sde_diffusion.load(bare, family=family, heads=HEADS)
    two = sde_diffusion.load(whole, heads=HEADS)
    one.save(tmp_path / "ours.safetensors")
    three = sde_diffusion.load(tmp_path / "ours.safetensors")
    x, level, cond = image(), torch.tensor(1.5), Condition.label(torch.arange(N) % 5)
    answer = one.denoiser(x, level, cond)
    assert torch.equal(answer, two.denoiser(x, level, cond))
    assert torch.equal(answer, three.denoiser(x, level, cond))
    assert one.classes == three.classes == 5
    said = {finding.key: finding.value for finding in one.findings}
    assert said["prediction"] == ("epsilon" if family == "dit" else "minus_flow")


@pytest.mark.parametrize(
    ("given", "args", "message"),
    [
        ({"heads": 16}, {}, "give family=dit or sit"),
        ({"heads": 16, "family": "x"}, {}, "give family=dit or family=sit"),
        ({"family": "dit"}, {}, "give heads=their number"),
        ({"family": "dit", "heads": 7}, {}, "network.heads=7"),
        ({"family": "dit", "heads": 16}, {"model": "SiT-B/2"}, "leave family out"),
        ({"heads": 16}, {"model": "SiT-B/2", "path_type": "GVP"}, "path_type=GVP"),
        ({"heads": 16}, {"model": "SiT-B/2", "prediction": "score"}, "prediction=score"),
    ],
)
def test_what_a_file_does_not_say_or_says_otherwise(
    tmp_path: Path, given: dict[str, Any], args: dict[str, str], message: str
) -> None:
    content = {"ema": pixels("dit"), "args": namespace(**args)}
    with pytest.raises(InputError, match=message) as caught:
        sde_diffusion.load(torch_file(tmp_path / "run.pt", content), **given)
    assert "\n" not in str(caught.value)


def test_latents_are_refused_in_one_line(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "DiT-XL-2-256x256.pt", record("dit").state)
    with pytest.raises(InputError, match=r"latents of 4 channels.*give a model of pixels"):
        sde_diffusion.load(path, family="dit", heads=HEADS)


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    state = pixels("dit")
    path = torch_file(tmp_path / "net.pt", {**state, "side.weight": torch.ones(1)})
    with pytest.raises(InputError, match=r"weight side\.weight is of no layer"):
        sde_diffusion.load(path, family="dit", heads=HEADS)
    path = torch_file(tmp_path / "net.pt", {**state, "pos_embed": torch.ones(1, 15, 64)})
    with pytest.raises(InputError, match=r"weight positions is of shape"):
        sde_diffusion.load(path, family="dit", heads=HEADS)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match=r"network\.size=8"):
        denoiser_of("dit").network(torch.zeros(1, 4, 16, 16), torch.zeros(1))
