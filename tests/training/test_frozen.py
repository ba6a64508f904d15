"""Weights that stay as they start, while all others learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.refusals import refused
from tests.training.small import ARGS, CONFIG, SPEC, trainer

FROZEN = replace(CONFIG, frozen=["embed_noise", "stem.weight"])


@pytest.mark.parametrize("magnitude_preserving", [False, True])
def test_frozen_weights_stay_and_all_others_learn(
    tmp_path: Path, magnitude_preserving: bool
) -> None:
    """Those too that are put back to one norm after each step."""
    arguments = {**ARGS, "magnitude_preserving": magnitude_preserving}
    config = replace(FROZEN, frozen=["embed_noise", "embed_class"])
    run = trainer(tmp_path, config, replace(SPEC, network_args=arguments))
    before = {k: v.clone() for k, v in run.denoiser.network.named_parameters()}
    list(run.run())
    averages = dict(run.state.ema.network.named_parameters())
    for name, weight in run.denoiser.network.named_parameters():
        stays = name.startswith(("embed_noise.", "embed_class."))
        assert torch.equal(weight, before[name]) == stays, name
        assert torch.equal(averages[name], before[name]) == stays, name


def test_a_run_with_frozen_weights_resumes_to_the_last_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", FROZEN)
    list(whole.run())
    steps = trainer(tmp_path / "parts", FROZEN).run()
    for _ in range(4):  # ends beyond the checkpoint of step 3
        next(steps)
    again = trainer(tmp_path / "parts", FROZEN)
    assert again.step == 3
    list(again.run())
    ours, theirs = (each.denoiser.network.state_dict() for each in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with refused("hydra.run.dir", "frozen"):
        trainer(tmp_path / "parts", CONFIG)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("stem.weigth", "stem.weight"), ("stems", "stem"), ("", "stem"), ("up.9", "up.0")],
)
def test_a_name_that_no_weight_has_is_refused(tmp_path: Path, name: str, remedy: str) -> None:
    with refused(f"frozen={name}", remedy):
        trainer(tmp_path, replace(CONFIG, frozen=[name]))


def test_something_is_left_to_learn(tmp_path: Path) -> None:
    weights = trainer(tmp_path).denoiser.network.named_parameters()
    with refused("frozen=", "name fewer"):
        trainer(tmp_path, replace(CONFIG, frozen=[name for name, _ in weights]))
