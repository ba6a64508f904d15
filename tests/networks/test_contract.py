"""What every network of ``conf/network`` keeps, whatever it is made of (small twins of all)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sde_diffusion import networks
from sde_diffusion.conditions.condition import Condition, Part
from sde_diffusion.config.groups import FROM_DATA
from sde_diffusion.errors import InputError
from sde_diffusion.networks.registry import find
from sde_diffusion.system.identity import parameters
from tests.networks.small import YAMLS, build, inputs, name, shaken, small_args, told

# The first is an extra; the last is that of runs by an older preset.
WITHOUT_YAML = {"diffusers", "ncsnpp"}
every = pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)


@every
def test_a_fresh_network_outputs_zero(path: Path) -> None:
    x, c_noise = inputs(path)
    assert torch.equal(build(path)(x, c_noise), torch.zeros_like(x))


@every
def test_rows_do_not_mix(path: Path) -> None:
    network, (x, c_noise) = shaken(path, classes=4, augment=2), inputs(path)
    cond = told([0, 3, 1], augment=torch.randn(3, 2))
    rows = [network(x[i : i + 1], c_noise[i : i + 1], cond[i : i + 1]) for i in range(3)]
    whole = network(x, c_noise, cond)
    assert whole.shape == x.shape
    assert torch.allclose(whole, torch.cat(rows), atol=1e-4)


@every
def test_a_dropped_label_is_no_condition(path: Path) -> None:
    network, (x, c_noise) = shaken(path, classes=4), inputs(path)
    none, cond = network(x, c_noise), Condition.label([0, 3, 1])
    assert torch.equal(network(x, c_noise, cond.dropped()), none)
    assert torch.equal(network(x, c_noise, Condition.label([-1] * 3)), none)
    mixed = network(x, c_noise, cond.dropped(torch.tensor([True, False, False])))
    assert torch.equal(mixed[0], none[0])
    assert bool(((mixed[1:] - none[1:]).abs().flatten(1).amax(1) > 1e-3).all())


@every
def test_zero_augmentation_labels_are_none(path: Path) -> None:
    """They reach the output, dropped class or not; and without classes too."""
    x, c_noise = inputs(path)
    for classes in (0, 4):
        network = shaken(path, classes=classes, augment=2)
        none = network(x, c_noise)
        unchanged = Condition({"augment": Part.of(torch.zeros(3, 2), fixed=True)})
        assert torch.equal(network(x, c_noise, unchanged), none)
        changed = Condition({"augment": Part.of(torch.eye(3)[:, :2], fixed=True)})
        moved = network(x, c_noise, changed.dropped())
        assert bool(((moved - none)[:2].abs().flatten(1).amax(1) > 1e-3).all())
        assert torch.equal(moved[2], none[2])


@every
def test_noise_level_and_data_matter(path: Path) -> None:
    network, (x, c_noise) = shaken(path), inputs(path)
    base = network(x, c_noise)
    for other in (network(x, c_noise + 0.2), network(x + 0.2, c_noise)):
        assert bool(((other - base).abs().flatten(1).amax(1) > 1e-3).all())


@every
def test_no_weight_is_dead(path: Path) -> None:
    """Every tensor of weights has a gradient once no branch is closed."""
    network, (x, c_noise) = shaken(path, classes=3, augment=2), inputs(path)
    cond = told([0, 1, 2], augment=torch.randn(3, 2))
    (network(x, c_noise, cond) - torch.randn_like(x)).square().mean().backward()
    dead = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


@every
def test_float64_is_more_exact_and_autocast_runs(path: Path) -> None:
    network, (x, c_noise) = shaken(path, classes=3, augment=2), inputs(path)
    cond = told([0, 1, 2], augment=torch.randn(3, 2))
    out = network(x, c_noise, cond)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, c_noise, cond).float()
    rough.square().mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
    exact = network.double()(x.double(), c_noise.double(), cond)
    assert exact.dtype == torch.float64
    assert relative(out - exact, exact) < 1e-4
    assert 0 < relative(rough - exact, exact) < 0.15  # 8 bits a product, over the whole depth


@every
def test_channels_last_gives_the_same(path: Path) -> None:
    network, (x, c_noise) = shaken(path), inputs(path)
    out = network(x, c_noise)
    if x.ndim == 4:
        x = x.to(memory_format=torch.channels_last)
    again = network.to(memory_format=torch.channels_last)(x, c_noise)
    assert relative(out - again, out) < 1e-5


@every
def test_training_mode_with_dropout_learns(path: Path) -> None:
    """It learns to copy three inputs, from where it outputs 0."""
    network, (x, c_noise) = build(path, classes=3), inputs(path)
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.p = 0.1
    network.train()
    cond = Condition.label([0, 1, 2])
    optimizer = torch.optim.Adam(network.parameters(), 3e-2)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = (network(x, c_noise, cond) - x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@every
def test_hostile_arguments_are_one_line(path: Path) -> None:
    """Each argument with values that are of a wrong type or size, under the meta device."""
    good = small_args(path, channels=3, classes=0, augment=0)
    besides = set(FROM_DATA["network"]) - set(good)  # conditions that a data set may have
    assert set(good) == set(parameters(find(name(path)))) - besides
    bad = [-1, 10**30, float("nan"), "x", [-1], ["x"], [10**30], [[8]]]
    with torch.device("meta"):
        networks.build(name(path), good)
        for key in good:
            for value in bad:
                with pytest.raises(InputError) as caught:
                    networks.build(name(path), {**good, key: value})
                assert "\n" not in str(caught.value)
                assert len(str(caught.value)) < 400


@pytest.mark.parametrize("network", [network for network in networks.names() if network != "mlp"])
def test_vectors_are_refused_by_networks_for_images(network: str) -> None:
    if network == "diffusers":
        pytest.importorskip("diffusers", reason="diffusers is not installed; see [pretrained]")
    with pytest.raises(InputError, match=r"data of shape \(2,\).*network=mlp is for vectors"):
        networks.build(network, {"channels": 2})(torch.zeros(4, 2), torch.zeros(4))


def relative(error: torch.Tensor, value: torch.Tensor) -> float:
    """RMS of the error over that of the value."""
    return float((error.square().mean() / value.square().mean()).sqrt().detach())


def test_every_registered_network_has_a_yaml() -> None:
    assert {name(path) for path in YAMLS} == set(networks.names()) - WITHOUT_YAML
