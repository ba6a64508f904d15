"""Post-hoc averages against those tracked directly, along a random walk of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sde_diffusion.errors import InputError
from sde_diffusion.models.file import load_denoiser, save_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.training.ema import Averaged, PowerEMA, gamma_of
from sde_diffusion.training.posthoc import FOLDER, Snapshots, coefficients, reconstruct, stored
from sde_diffusion.training.posthoc import write_average as write

STEPS = 800
EVERY = 40
WANTED = [0.03, 0.05, 0.07, 0.1, 0.15]
ARGS = {"channels": 1, "widths": [8], "blocks": 1, "attention": [], "patch": 1, "embedding": 8}
SPEC = Spec("unet", ARGS, "karras", {"sigma_data": 1.0}, (1, 8, 8))


def walk(network: nn.Module, step: int) -> None:
    """One step of training: a random step of every weight, smaller as training goes on."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.02 * (1 - step / STEPS) * torch.randn(p.shape, generator=generator)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[float, Averaged]]:
    """A run of ``STEPS`` with a snapshot every ``EVERY``, and averages tracked beside it."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    network = SPEC.build().network
    snapshots = Snapshots(network)
    direct = {width: Averaged(network, PowerEMA(width)) for width in WANTED}
    for step in range(1, STEPS + 1):
        walk(network, step)
        snapshots.update(step)
        for average in direct.values():
            average.update(step)
        if step % EVERY == 0:
            snapshots.save(folder, replace(SPEC, step=step))
    return folder, direct


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])


@pytest.mark.parametrize("width", WANTED)
def test_it_reproduces_an_average_tracked_directly(
    run: tuple[Path, dict[float, Averaged]], width: float
) -> None:
    folder, direct = run
    _, found = reconstruct(folder, width)
    wanted = direct[width].network.state_dict()
    assert found.keys() == wanted.keys()
    a, b = flat(found), flat(wanted)
    assert float((a - b).norm() / b.norm()) < 1e-3
    # Nearer to the truth than to any neighbour, by far: the widths do differ.
    others = [flat(direct[w].network.state_dict()) for w in WANTED if w != width]
    assert all(float((a - b).norm()) < 0.1 * float((other - b).norm()) for other in others)


@pytest.mark.parametrize("width", [0.05, 0.1])
def test_a_width_that_was_stored_is_that_file_alone(width: float) -> None:
    steps = [s for s in range(10, 101, 10) for _ in range(2)]
    c = coefficients(steps, [0.05, 0.1] * 10, 100, width)
    alone = np.zeros(20)
    alone[-2 if width == 0.05 else -1] = 1
    assert np.allclose(c, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("width", [0.02, 0.07, 0.2])
def test_the_coefficients_are_the_best_of_all_that_sum_to_one(width: float) -> None:
    """Against a quadrature of the profiles: no other sum comes nearer to the one wanted."""
    steps, widths = [250, 250, 500, 500, 1000, 1000], [0.05, 0.1] * 3
    tau = (np.arange(100_000) + 0.5) / 100  # 0 .. 1000, 100 points a step

    def profile(step: int, sigma_rel: float) -> np.ndarray:
        gamma = gamma_of(sigma_rel)
        return np.where(tau <= step, (gamma + 1) * (tau / step) ** gamma / step, 0.0)

    basis = np.stack([profile(s, w) for s, w in zip(steps, widths, strict=True)])
    target = profile(1000, width)
    c = coefficients(steps, widths, 1000, width)
    assert c.sum() == pytest.approx(1, abs=1e-9)
    residual = c @ basis - target
    # Optimal under the constraint: the residual has one and the same product with every profile.
    products = basis @ residual
    assert np.ptp(products) < 1e-4 * np.linalg.norm(basis, axis=1).max() * np.linalg.norm(target)


def test_more_snapshots_come_nearer(run: tuple[Path, dict[float, Averaged]]) -> None:
    def distance(count: int) -> float:
        steps = [STEPS * k // count for k in range(1, count + 1) for _ in range(2)]
        c = coefficients(steps, [0.05, 0.1] * count, STEPS, 0.15)
        shares = [_weights(s, w) for s, w in zip(steps, [0.05, 0.1] * count, strict=True)]
        return float(np.linalg.norm(c @ np.stack(shares) - _weights(STEPS, 0.15)))

    found = [distance(count) for count in (2, 4, 8, 16)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] / 20


def _weights(step: int, sigma_rel: float) -> np.ndarray:
    edges = np.minimum(np.arange(STEPS + 1) / step, 1) ** (gamma_of(sigma_rel) + 1)
    return np.diff(edges)


def test_an_earlier_step_uses_nothing_that_came_later(
    run: tuple[Path, dict[float, Averaged]],
) -> None:
    folder, _ = run
    torch.manual_seed(0)
    network = SPEC.build().network
    average = Averaged(network, PowerEMA(0.07))
    for step in range(1, STEPS // 2 + 1):
        walk(network, step)
        average.update(step)
    spec, found = reconstruct(folder, 0.07, STEPS // 2)
    assert spec.step == STEPS // 2
    a, b = flat(found), flat(average.network.state_dict())
    assert float((a - b).norm() / b.norm()) < 1e-3


def test_a_restored_state_goes_on_as_if_nothing_had_happened() -> None:
    torch.manual_seed(0)
    network = SPEC.build().network
    one = Snapshots(network)
    for step in range(1, 6):
        walk(network, step)
        one.update(step)
    two = Snapshots(network)  # of the weights as they are now
    two.restore({name: value.clone() for name, value in one.tensors().items()})
    for step in range(6, 9):
        walk(network, step)
        one.update(step)
        two.update(step)
    left, right = one.tensors(), two.tensors()
    assert all(torch.equal(left[name], right[name]) for name in left)
    with pytest.raises(KeyError):
        Snapshots(network, [0.05, 0.2]).restore(one.tensors())


def test_every_file_is_a_model(run: tuple[Path, dict[float, Averaged]], tmp_path: Path) -> None:
    folder, _ = run
    path = tmp_path / "average.safetensors"
    write(folder, 0.07, path)
    for file in (path, stored(folder)[0].path):
        spec, denoiser = load_denoiser(file)
        x = torch.randn(2, *spec.shape, generator=torch.Generator().manual_seed(0))
        assert denoiser(x, torch.tensor(1.0)).shape == x.shape
    assert load_denoiser(path)[0].config["ema_width"] == 0.07


def test_a_run_that_goes_another_way_leaves_no_later_snapshot(tmp_path: Path) -> None:
    snapshots = Snapshots(SPEC.build().network, [0.1])
    for step in (4, 8, 12, 10):
        snapshots.save(tmp_path, replace(SPEC, step=step))
    assert [s.spec.step for s in stored(tmp_path)] == [4, 8, 10]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: {k: v for k, v in w.items() if "head" not in k}, "do not fit"),
        (lambda w: {k: v[:1] for k, v in w.items()}, "do not fit"),
        (lambda w: {k: v * torch.nan for k, v in w.items()}, "no finite numbers"),
    ],
    ids=["fewer", "smaller", "no numbers"],
)
def test_a_snapshot_of_other_weights_is_named(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], says: str
) -> None:
    network = SPEC.build().network
    for step in (4, 8):
        Snapshots(network, [0.1]).save(tmp_path, replace(SPEC, step=step))
    path = stored(tmp_path)[-1].path
    weights = change({f"model.{k}": v for k, v in network.state_dict().items()})
    save_checkpoint(path, replace(SPEC, step=8, config={"ema_width": 0.1}), weights)
    with pytest.raises(InputError, match=f"{path.name}: .*{says}"):
        reconstruct(tmp_path, 0.1)


def test_what_cannot_be_reconstructed_is_refused(
    run: tuple[Path, dict[float, Averaged]], tmp_path: Path
) -> None:
    folder, _ = run
    with pytest.raises(InputError, match="snapshot_every"):
        reconstruct(tmp_path, 0.1)
    with pytest.raises(InputError, match=r"sigma_rel=0\.5"):
        reconstruct(folder, 0.5)
    with pytest.raises(InputError, match="step=41: no snapshot of it; choose one of"):
        reconstruct(folder, 0.1, 41)
    with pytest.raises(InputError, match="widths"):
        Snapshots(nn.Linear(1, 1), [0.05, 0.05])
    with pytest.raises(InputError, match="widths"):
        Snapshots(nn.Linear(1, 1), [0.05, 0.05 + 1e-8])  # of one name
    (tmp_path / FOLDER).mkdir()
    save_checkpoint(tmp_path / FOLDER / "x.safetensors", replace(SPEC, step=3), {})
    with pytest.raises(InputError, match="records no EMA width"):
        stored(tmp_path)
    for name, args in {"a": ARGS, "b": {**ARGS, "widths": [16]}}.items():
        spec = replace(SPEC, step=3, network_args=args, config={"ema_width": 0.1})
        save_checkpoint(tmp_path / FOLDER / f"{name}.safetensors", spec, {})
    (tmp_path / FOLDER / "x.safetensors").unlink()
    with pytest.raises(InputError, match="another network"):
        stored(tmp_path)
