"""Weights that stay as they start, while all others learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.unused import unused
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


def test_nothing_is_frozen_in_a_run_from_before_there_was_a_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its momenta did not fit, which was all that was said."""
    identity = TrainConfig.identity
    with monkeypatch.context() as patch:

        def before(config: TrainConfig) -> dict[str, Any]:
            return {k: v for k, v in identity(config).items() if k != "frozen"}

        patch.setattr(TrainConfig, "identity", before)
        list(trainer(tmp_path, CONFIG).run())
    assert trainer(tmp_path, CONFIG).step
    with refused("hydra.run.dir", "another frozen", "another folder"):
        trainer(tmp_path, FROZEN)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("stem.weigth", "stem.weight"), ("stems", "stem"), ("", "stem"), ("up.9", "up.0")],
)
def test_a_name_that_no_weight_has_is_refused(tmp_path: Path, name: str, remedy: str) -> None:
    with refused(f"frozen={name}", remedy):
        trainer(tmp_path, replace(CONFIG, frozen=[name]))


def test_settings_without_effect_are_said() -> None:
    data = ImageSet("small", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), None, 0)
    usual = TrainConfig()
    assert not list(unused(usual, data))
    config = replace(usual, label_dropout=0.3, text_dropout=0.0, snapshot_widths=[0.2], steps=9)
    config = replace(config, parallel="fsdp")
    keys = [line.partition("=")[0] for line in unused(config, data)]
    assert keys == ["label_dropout", "text_dropout", "snapshot_widths", "parallel", "warmup"]
    labelled = replace(data, labels=torch.zeros(2, dtype=torch.int64), classes=1)
    assert not list(unused(replace(usual, label_dropout=0.3), labelled))


def test_something_is_left_to_learn(tmp_path: Path) -> None:
    weights = trainer(tmp_path).denoiser.network.named_parameters()
    with refused("frozen=", "name fewer"):
        trainer(tmp_path, replace(CONFIG, frozen=[name for name, _ in weights]))
