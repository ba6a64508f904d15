"""Micro-batches, precision and the optimizer: the same numbers by other ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sde_diffusion.training.clip import clip
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.precision import wants_channels_last
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.weighting import UncertaintyWeighting
from tests.training.small import ARGS, CONFIG, SPEC, finish, trainer

# Dropout draws one stream a part of a batch, so its masks are those of no other division.
DRY = replace(SPEC, network_args={**ARGS, "dropout": 0.0})
EXACT = replace(CONFIG, steps=20, batch_size=12, dtype="float64")
LEARNED = Parts(LogNormal(-0.4, 1.4), UncertaintyWeighting(8))


def weights(run: Trainer) -> torch.Tensor:
    """Everything that learned, and the averages, as one vector."""
    learned = [*run.objective.parameters(), *run.state.ema.network.parameters()]
    return torch.cat([p.detach().flatten() for p in learned])


def trained(folder: Path, config: TrainConfig, **more: object) -> tuple[Trainer, list[float]]:
    run = trainer(folder, config, DRY, **more)  # type: ignore[arg-type]
    return run, [float(metrics["loss"]) for metrics in finish(run)]


@pytest.mark.parametrize("accumulate", [2, 3])
def test_micro_batches_have_the_numbers_of_the_whole_batch(tmp_path: Path, accumulate: int) -> None:
    one, losses = trained(tmp_path / "one", EXACT, parts=LEARNED)
    config = replace(EXACT, accumulate=accumulate)
    more, losses_of_parts = trained(tmp_path / "more", config, parts=LEARNED)
    assert weights(one).dtype == torch.float64
    # Rounding, 1e-16, that 20 steps of Adam may magnify.
    assert torch.allclose(weights(one), weights(more), rtol=0, atol=1e-10)
    assert losses == pytest.approx(losses_of_parts, rel=1e-10)


def test_a_learned_weighting_learns(tmp_path: Path) -> None:
    run, _ = trained(tmp_path, EXACT, parts=LEARNED)
    assert float(next(run.state.weighting.parameters()).detach().abs().max()) > 1e-3


def test_double_precision_is_single_precision_and_more(tmp_path: Path) -> None:
    _, single = trained(tmp_path / "single", replace(EXACT, dtype="float32"))
    _, double = trained(tmp_path / "double", EXACT)
    assert single == pytest.approx(double, rel=1e-3)
    assert single != double


def test_weight_decay_shrinks_weights(tmp_path: Path) -> None:
    plain, _ = trained(tmp_path / "plain", EXACT)
    decayed, _ = trained(tmp_path / "decayed", replace(EXACT, weight_decay=1.0))
    assert float(weights(decayed).norm()) < 0.98 * float(weights(plain).norm())


def test_no_gradient_is_longer_than_the_clip(tmp_path: Path) -> None:
    run = trainer(tmp_path, replace(EXACT, clip=1e-3, steps=1), DRY)
    finish(run)
    gradient = torch.cat([p.grad.flatten() for p in run.objective.parameters()])
    assert float(gradient.norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("longest", [0.1, 20.0, 1e3])
def test_clipping_is_that_of_torch_to_the_last_bit(longest: float) -> None:
    torch.manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.zeros(n, 7)) for n in (1, 30, 5)] for _ in range(2))
    for a, b in zip(ours[:2], theirs[:2], strict=True):  # the last has none
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    assert clip(ours, longest) == float(torch.nn.utils.clip_grad_norm_(theirs, longest))
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        assert torch.equal(a.grad, b.grad)


def test_channels_last_changes_the_format_and_nothing_else(tmp_path: Path) -> None:
    plain, _ = trained(tmp_path / "plain", EXACT)
    last, _ = trained(tmp_path / "last", replace(EXACT, channels_last=True))
    formats = {p.is_contiguous(memory_format=torch.channels_last)
               for p in last.denoiser.network.parameters() if p.ndim == 4}  # fmt: skip
    assert formats == {True}
    assert torch.allclose(weights(plain), weights(last), rtol=0, atol=1e-10)
    assert torch.equal(weights(trainer(tmp_path / "last", EXACT, DRY)), weights(last))  # resumed


def test_the_format_is_chosen_where_it_is_not_given() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    half = replace(CONFIG, precision="bfloat16")
    assert [wants_channels_last(half, d) for d in (cpu, cuda)] == [False, True]
    assert not wants_channels_last(CONFIG, cuda)
    assert wants_channels_last(replace(CONFIG, channels_last=True), cpu)
