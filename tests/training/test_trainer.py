"""Training: resuming is exact, faults are skipped or named, and the loss goes down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import load_denoiser, read_checkpoint, save_checkpoint
from sde_diffusion.training.batch import Batch, Batches
from sde_diffusion.training.checkpoints import CHECKPOINT, MODEL, noise_version
from sde_diffusion.training.levels import LogUniform
from sde_diffusion.training.schedule import Cosine
from sde_diffusion.training.trainer import Diverged, Parts, Trainer
from sde_diffusion.training.validation import validation_losses
from tests.refusals import refused
from tests.training.small import (
    ARGS,
    CONFIG,
    PARTS,
    SPEC,
    assert_same,
    finish,
    halves,
    tensors,
    trainer,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of 7 steps."""
    folder = tmp_path_factory.mktemp("whole")
    finish(trainer(folder))
    return folder


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, whole: Path, stop: int) -> None:
    first = trainer(tmp_path)
    for metrics in first.run():
        if metrics["step"] == stop:
            break
    saved = stop // 3 * 3 if stop % 3 else stop - 3  # stopped before the save of step ``stop``
    torch.manual_seed(stop)  # what else the process draws does not matter
    second = trainer(tmp_path)
    assert second.step == saved
    assert [m["step"] for m in finish(second)] == list(range(saved + 1, 8))
    assert_same(tensors(tmp_path), tensors(whole))


SAVED = replace(CONFIG, steps=24, save_every=6)


def watched(monkeypatch: pytest.MonkeyPatch, broken: int = 0) -> list[str]:
    """What runs draw, ask and save from now on; the data of step ``broken`` are at fault."""
    told: list[str] = []
    draw, ask, save = Batches.draw, Trainer._ask, Trainer.save

    def drawn(batches: Batches, step: int, *words: Any) -> Batch:
        told.append(f"draw {step}")
        if step == broken:
            raise ZeroDivisionError("of the data")
        return draw(batches, step, *words)

    def asked(run: Trainer) -> None:
        told.append(f"ask {run.step}")
        ask(run)

    def saved(run: Trainer, *words: Any) -> None:
        told.append(f"save {run.step}")
        save(run, *words)

    monkeypatch.setattr(Batches, "draw", drawn)
    monkeypatch.setattr(Trainer, "_ask", asked)
    monkeypatch.setattr(Trainer, "save", saved)
    return told


def test_a_batch_is_drawn_before_the_host_waits_and_none_ahead_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = watched(monkeypatch)
    finish(trainer(tmp_path, SAVED))
    assert [word for word in told if "draw" in word] == [f"draw {k}" for k in range(1, 25)]
    assert told.index("draw 21") < told.index("ask 20")
    for step in (6, 12, 18):
        assert told.index(f"save {step}") < told.index(f"draw {step + 1}")
    none = property(lambda run: None, lambda run, batch: None)
    monkeypatch.setattr(Trainer, "_ahead", none, raising=False)
    told.clear()
    finish(trainer(tmp_path / "plain", SAVED))
    assert told.count("draw 21") == 2  # ahead, and kept by none
    assert_same(tensors(tmp_path), tensors(tmp_path / "plain"))


def test_a_fault_of_the_data_shows_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched(monkeypatch, broken=9)
    with pytest.raises(ZeroDivisionError, match="of the data"):
        finish(trainer(tmp_path, SAVED))
    assert trainer(tmp_path, SAVED).step == 6


def test_a_finished_run_is_left_alone_and_its_model_restored(tmp_path: Path) -> None:
    finish(trainer(tmp_path))
    before = (tmp_path / MODEL).read_bytes()
    (tmp_path / MODEL).unlink()
    assert finish(trainer(tmp_path)) == []
    assert (tmp_path / MODEL).read_bytes() == before


def test_the_loss_goes_down_and_labels_are_learned(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=150, batch_size=16, save_every=150, warmup=10)
    run = trainer(tmp_path, config)
    before = validation_losses(run.denoiser.eval(), halves(), levels=4)
    losses = [m["loss"] for m in finish(run)]
    after = validation_losses(run.ema_denoiser(), halves(), levels=4)
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    assert all(after[sigma] < 0.5 * before[sigma] for sigma in after if sigma > 1)
    spec, denoiser = load_denoiser(tmp_path / MODEL)
    assert (spec.step, spec.data) == (150, "halves")
    x, sigma = torch.zeros(2, 1, 8, 8), torch.tensor(20.0)
    left, right = denoiser(x, sigma, Condition.label([0, 1]))[..., :4].mean(dim=(1, 2, 3)).tolist()
    assert left - right > 0.5


def test_the_model_is_the_average_in_half_precision(whole: Path) -> None:
    _, model = read_checkpoint(whole / MODEL, "model.")
    _, average = read_checkpoint(whole / CHECKPOINT, "model.")
    assert {t.dtype for t in model.values()} == {torch.float16}
    assert all(torch.equal(model[k], average[k].half()) for k in average)


def test_metadata_says_how_it_was_trained(whole: Path) -> None:
    run = read_checkpoint(whole / MODEL)[0].config["run"]
    assert run["train"]["batch_size"] == 4
    assert run["pixels"] == halves().fingerprint


def test_the_average_is_sampled_from_while_training(tmp_path: Path) -> None:
    seen: list[tuple[int, bool, bool]] = []

    def on_save(run: Trainer) -> None:
        denoiser = run.ema_denoiser()
        shared = next(denoiser.network.parameters()) is next(run.state.ema.network.parameters())
        out = denoiser(torch.zeros(2, 1, 8, 8), torch.tensor(1.0))
        assert out.shape == (2, 1, 8, 8)
        seen.append((run.step, denoiser.training, shared))
        assert run.denoiser.network.training
        assert (run.folder / CHECKPOINT).exists()

    list(trainer(tmp_path).run(on_save=on_save))
    assert seen == [(3, False, True), (6, False, True), (7, False, True)]


def test_a_run_of_version_1_of_the_noise_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one line; the steps after it are those of the version that drew them."""
    for metrics in trainer(tmp_path).run():
        if metrics["step"] == 4:
            break
    spec, state = read_checkpoint(tmp_path / CHECKPOINT)
    assert noise_version(spec) == 2
    run = {name: value for name, value in spec.config["run"].items() if name != "noise_version"}
    spec = replace(spec, config={**spec.config, "run": run})
    save_checkpoint(tmp_path / CHECKPOINT, spec, state)
    capsys.readouterr()
    went_on = trainer(tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if "noise" in line]
    assert len(lines) == 1
    assert "begun with version 1 of the noise; steps from 4 on draw from version 2" in lines[0]
    assert [metrics["step"] for metrics in went_on.run()] == [4, 5, 6, 7]
    assert noise_version(read_checkpoint(tmp_path / CHECKPOINT)[0]) == 2
    assert "noise" not in capsys.readouterr().err
    trainer(tmp_path)
    assert "noise" not in capsys.readouterr().err


@dataclass
class Poisoned:
    """Batches of a run; some steps have no finite loss, in the row with the second-highest noise.

    ``level``: that row's noise level at the last of those steps.
    """

    honest: Batches
    steps: set[int]
    levels: dict[int, float] = field(default_factory=dict)

    def draw(self, step: int, *words: Any) -> Batch:
        batch = self.honest.draw(step, *words)
        if step in self.steps:
            row = int(batch.sigma.argsort()[-2])
            batch.noise[row], self.levels[step] = math.nan, float(batch.sigma[row])
        return batch


def poison(run: Trainer, steps: set[int]) -> Poisoned:
    run.batches = Poisoned(run.batches, steps)  # type: ignore[assignment]
    return run.batches  # type: ignore[return-value]


def test_a_step_without_a_finite_loss_is_skipped_and_counted(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    poison(run, {2, 3, 5})
    before = None
    for metrics in run.run():
        weights = [p.detach().clone() for p in run.denoiser.network.parameters()]
        if before is not None:
            same = all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))
            assert same is (metrics["step"] in {2, 3, 5, 7})  # at step 7 the rate is zero
        before = weights
    assert run.state.watch.skipped == 3
    assert run.state.watch.smoothed.isfinite()
    assert trainer(tmp_path).state.watch.skipped == 3
    assert all(bool(t.isfinite().all()) for t in tensors(tmp_path).values())


def test_ten_bad_steps_in_a_row_end_the_run(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=50)
    run = trainer(tmp_path, config)
    batches = poison(run, {2, 3, *range(5, 50)})
    with pytest.raises(Diverged, match="step 14, noise level") as caught:
        finish(run)
    assert config.patience == 10
    assert f"noise level {batches.levels[14]:.4g};" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InputError)
    assert trainer(tmp_path, config).step == 12  # the last checkpoint is good


def test_a_validation_without_a_number_costs_no_checkpoint(tmp_path: Path) -> None:
    """As when one huge step has made the weights infinite, which its own loss does not show."""
    run = trainer(tmp_path)
    with pytest.raises(Diverged, match="averaged weights of step 6 give a loss of nan"):
        list(run.run(validate=lambda run: math.nan if run.step == 6 else 1.0))
    assert trainer(tmp_path).step == 3


def test_training_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    finish(trainer(tmp_path, replace(CONFIG, steps=2)))
    assert torch.equal(torch.rand(3), expected)


def test_bfloat16_trains_float32_weights(tmp_path: Path) -> None:
    run = trainer(tmp_path, replace(CONFIG, precision="bfloat16"))
    assert all(math.isfinite(m["loss"]) for m in finish(run))
    assert {p.dtype for p in run.denoiser.network.parameters()} == {torch.float32}


def test_the_optimizer_follows_it(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    for metrics in run.run():
        assert run.state.optimizer.param_groups[0]["lr"] == metrics["lr"]
        assert metrics["lr"] == 5e-3 * Cosine().share(int(metrics["step"]), 2, 7)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"config": replace(CONFIG, batch_size=5, lr=1.0)}, "batch_size, lr"),
        ({"spec": replace(SPEC, parameterization="v", parameterization_args={})}, "parameteriz"),
        ({"spec": replace(SPEC, network_args={**ARGS, "blocks": 2})}, "network_args"),
        ({"parts": Parts(LogUniform())}, "levels"),
        ({"data": halves(22)}, "pixels"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_another_run_in_the_folder_is_refused(
    whole: Path, change: dict[str, object], name: str
) -> None:
    parts: dict[str, object] = {"spec": SPEC, "data": halves(), "parts": PARTS, "config": CONFIG}
    with pytest.raises(InputError, match=rf"^hydra.run.dir=.*another {name}.*choose another"):
        Trainer(**{**parts, **change}, folder=whole)  # type: ignore[arg-type]


def test_more_steps_may_be_asked_of_a_finished_run(tmp_path: Path) -> None:
    finish(trainer(tmp_path))
    longer = trainer(tmp_path, replace(CONFIG, steps=9))
    assert [m["step"] for m in finish(longer)] == [8, 9]
    assert read_checkpoint(tmp_path / MODEL)[0].step == 9
    with refused("steps=8", "step 9", "give more"):
        trainer(tmp_path, replace(CONFIG, steps=8))


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("train.adam.0.exp_avg", torch.zeros(1)),
        ("train.adam.0.exp_avg_sq", None),
        ("train.adam.0.step", torch.zeros(5)),
        ("train.adam.-1.step", torch.zeros(())),
        ("train.adam.999999.step", torch.zeros(())),
        ("train.adam.first.step", torch.zeros(())),
        ("train.adam.0", torch.zeros(())),
        ("train.skipped", torch.zeros(5)),
    ],
    ids=str,
)
def test_a_training_state_that_does_not_fit_is_one_line(
    tmp_path: Path, whole: Path, change: str, value: torch.Tensor | None
) -> None:
    """A fused optimizer would read beyond the end of momenta that are too small."""
    spec, found = read_checkpoint(whole / CHECKPOINT)
    kept = {name: tensor for name, tensor in found.items() if name != change}
    given = {} if value is None else {change: value}
    save_checkpoint(tmp_path / CHECKPOINT, spec, {**kept, **given})
    with pytest.raises(InputError, match="holds no training state"):
        trainer(tmp_path)


@pytest.mark.parametrize("run", ["a word", {"train": "a word"}, [1], {}])
def test_settings_that_are_not_recorded_are_not_asked_for(
    tmp_path: Path, whole: Path, run: object
) -> None:
    spec, found = read_checkpoint(whole / CHECKPOINT)
    save_checkpoint(tmp_path / CHECKPOINT, replace(spec, config={"run": run}), found)
    assert trainer(tmp_path).step == 7


def test_a_checkpoint_that_cannot_be_resumed_is_one_line(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes((whole / MODEL).read_bytes())
    with pytest.raises(InputError, match="holds no training state"):
        trainer(tmp_path)
    spec, tensors = read_checkpoint(path)
    for run in ("a word", {"train": "a word"}, [1]):
        save_checkpoint(path, replace(spec, config={"run": run}), tensors)
        with pytest.raises(InputError, match="holds no training state"):
            trainer(tmp_path)
    path.write_bytes((whole / CHECKPOINT).read_bytes()[:5000])
    with pytest.raises(InputError, match=r"no whole checkpoint .*torn"):
        trainer(tmp_path)


@pytest.mark.parametrize("ends", [(0.0, 80.0), (-1.0, 80.0), (1.0, 0.5), (0.1, math.inf)])
def test_noise_levels_that_are_no_range(tmp_path: Path, ends: tuple[float, float]) -> None:
    spec = replace(SPEC, sigma_min=ends[0], sigma_max=ends[1])
    with pytest.raises(InputError, match=rf"^sigma_min={ends[0]:g}, .*give 0 < sigma_min"):
        Trainer(spec, halves(), PARTS, CONFIG, tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ImageSet(torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3), 2, "d"), "expects"),
        (ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), None, 0, "d"), "classes=0"),
        (ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(3), 5, "d"), "classes=5"),
        (ImageSet(torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0), 2, "d"), "no images"),
    ],
    ids=["sides", "no labels", "other labels", "empty"],
)
def test_data_that_do_not_fit_the_network(tmp_path: Path, data: ImageSet, message: str) -> None:
    with pytest.raises(InputError, match=f"^data=d: .*{message}"):
        Trainer(SPEC, data, PARTS, CONFIG, tmp_path)
