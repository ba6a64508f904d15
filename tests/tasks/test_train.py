"""The training task: what it logs and writes, and that Ctrl-C loses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sde_diffusion.config.compose import compose_task
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import DivergedError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import load_denoiser, read_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.output import Output
from sde_diffusion.system.tracking import NoTracker
from sde_diffusion.tasks.train import run_training, specified
from sde_diffusion.training.augment import AugmentChain
from sde_diffusion.training.checkpoints import CHECKPOINT, MODEL
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import ASKED, Parts, Trainer

ARGS = {"widths": [8], "blocks": 1, "attention": [], "patch": 1, "embedding": 8, "classes": 2}
SPEC = Spec("unet", {"channels": 1, **ARGS}, "v", {}, (1, 4, 4), classes=2)
CONFIG = TrainConfig(steps=50, batch_size=4, warmup=2, save_every=30)
IMAGES = torch.randint(
    0, 256, (12, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)
DATA = ImageSet(IMAGES, torch.arange(12) % 2, 2, "random")


class Log(NoTracker):
    """A tracker that remembers, and presses Ctrl-C at a step."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.images: list[tuple[str, str]] = []
        self.interrupt_at = interrupt_at

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, metrics))
        if step == self.interrupt_at:
            raise KeyboardInterrupt

    def image(self, name: str, path: Path) -> None:
        self.images.append((name, path.name))


def draw(denoiser: Denoiser) -> bytes:
    mean = denoiser(torch.zeros(2, 1, 4, 4), torch.tensor(5.0)).mean()
    return f"{float(mean):.6f}".encode()


def train(folder: Path, log: Log, draw: Callable[[Denoiser], bytes] = draw) -> float:
    trainer = Trainer(SPEC, DATA, Parts(LogNormal()), CONFIG, folder)
    return run_training(trainer, DATA[:5], draw, Output(folder, log))


def test_it_logs_draws_validates_and_writes(tmp_path: Path) -> None:
    log = Log()
    value = train(tmp_path, log)
    losses = {step: row for step, row in log.rows if "loss" in row}
    validations = {step: row for step, row in log.rows if "val/loss" in row}
    assert list(losses) == [ASKED, 30, 2 * ASKED, 50]
    assert all(math.isfinite(row["loss"]) and row["skipped"] == 0 for row in losses.values())
    assert all(row["images/s"] > 0 for row in losses.values())
    assert list(validations) == [30, 50]
    parts = [v for k, v in validations[50].items() if k.startswith("val/sigma=")]
    assert len(parts) == 8
    assert value == validations[50]["val/loss"] == pytest.approx(sum(parts) / 8)
    assert log.images == [("samples", "samples_30.png"), ("samples", "samples_50.png")]
    _, denoiser = load_denoiser(tmp_path / MODEL)
    drawn = float((tmp_path / "samples_50.png").read_bytes())
    assert float(draw(denoiser)) == pytest.approx(drawn, abs=1e-2)  # the model is half precision
    assert train(tmp_path, Log()) == pytest.approx(value)  # nothing left to do


def test_samples_that_diverge_do_not_end_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(denoiser: Denoiser) -> bytes:
        raise DivergedError("samples: no numbers")

    train(tmp_path, Log(), fails)
    assert (tmp_path / MODEL).exists()
    assert "samples_30.png: left out (samples: no numbers)" in capsys.readouterr().err


def test_a_kill_after_the_checkpoint_loses_neither_row_nor_picture(tmp_path: Path) -> None:
    def pulled(denoiser: Denoiser) -> bytes:
        raise KeyboardInterrupt

    log = Log()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, log, pulled)
    assert read_checkpoint(tmp_path / CHECKPOINT)[0].step == 30
    assert [step for step, row in log.rows if "val/loss" in row] == [30]
    assert not (tmp_path / "samples_30.png").exists()
    train(tmp_path, rest := Log())
    assert rest.images == [("samples", "samples_30.png"), ("samples", "samples_50.png")]
    train(tmp_path / "whole", Log())
    drawn = [(folder / "samples_30.png").read_bytes() for folder in (tmp_path, tmp_path / "whole")]
    assert drawn[0] == drawn[1]


def test_ctrl_c_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    log, first, rest = Log(), Log(interrupt_at=40), Log()
    train(tmp_path / "whole", log)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", first)
    assert read_checkpoint(tmp_path / "cut" / CHECKPOINT)[0].step == 30
    train(tmp_path / "cut", rest)
    whole, cut = (read_checkpoint(tmp_path / x / CHECKPOINT)[1] for x in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    # And the log is the same, but for the time that it took.
    before = [row for row in first.rows if row[0] <= 30]
    rows = [timeless(row) for row in (*before, *rest.rows)]
    assert rows == [timeless(row) for row in log.rows]


def timeless(row: tuple[int, dict[str, float]]) -> tuple[int, dict[str, float]]:
    return row[0], {name: value for name, value in row[1].items() if name != "images/s"}


def test_a_model_names_no_folder_of_the_machine_it_was_trained_on(tmp_path: Path) -> None:
    config = compose_task([
        "task=train", f"init={tmp_path / 'first' / 'model.safetensors'}", "data=folder",
        f"data.path={tmp_path / 'digits.zip'}", f"data.captions={tmp_path / 'said.csv'}",
    ])  # fmt: skip
    kept = specified(config, DATA, AugmentChain()).config
    assert str(tmp_path) not in str(kept)
    data = kept["data"]
    assert (kept["init"], data["path"], data["captions"]) == (
        "model.safetensors", "digits.zip", "said.csv"
    )  # fmt: skip
