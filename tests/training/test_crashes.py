"""A crash loses at most the last interval: kills at any moment, damaged and foreign files."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.training.checkpoints import BEST, CHECKPOINT, MODEL
from tests.refusals import refused
from tests.training.small import FULL, assert_same, full_trainer, mean_loss, tensors, train_fully

KILLS = 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of 20 steps, saved every 2."""
    folder = tmp_path_factory.mktemp("whole")
    train_fully(folder)
    return folder


def assert_same_folder(one: Path, two: Path) -> None:
    """The same files, with the same bytes: every weight, momentum, counter and record."""
    files = [
        {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.safetensors")}
        for folder in (one, two)
    ]
    assert sorted(files[0]) == sorted(files[1])
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []


def test_a_run_killed_at_any_moment_loses_one_interval_at_most(tmp_path: Path, whole: Path) -> None:
    """SIGKILL, again and again, while checkpoints, models and snapshots are being written."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.small"])
    survived = 0
    for _ in range(KILLS):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=train_fully, args=(tmp_path, theirs))
        process.start()
        theirs.close()
        done = survived
        mine.poll(60)  # until the first step
        time.sleep(random.Random().uniform(0, 0.15))
        process.kill()
        process.join()
        while mine.poll():
            try:
                done = mine.recv()
            except EOFError:
                break
        found = full_trainer(tmp_path).step
        assert found % FULL.save_every == 0
        assert found >= max(survived, done - FULL.save_every)
        survived = found
    train_fully(tmp_path)
    assert_same_folder(tmp_path, whole)
    assert not list(tmp_path.rglob(".*"))  # no half-written file is left


def test_half_written_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    stopped(tmp_path, 2)
    kept = [tmp_path / ".hydra" / "config.yaml", tmp_path / ".notes.safetensors"]
    halves = [tmp_path / ".checkpoint.safetensors.a1b2c3_8.half", tmp_path / ".x.pdf.abcdefgh.half",
              tmp_path / "snapshots" / ".step.safetensors.00000000.half"]  # fmt: skip
    for path in (*kept, *halves):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    full_trainer(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in halves)


def middle(path: Path) -> int:
    return path.stat().st_size - 1000


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: middle(path)])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    """A page that never reached the disk: the right size, and a valid safetensors file."""
    content = path.read_bytes()
    path.write_bytes(content[: middle(path)] + bytes(len(content) - middle(path)))


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[middle(path)] ^= 4
    path.write_bytes(content)


def foreign(path: Path) -> None:
    path.write_bytes(b"not a checkpoint" * 100)


DAMAGES = [truncated, emptied, zeroed, one_bit, foreign]


def stopped(folder: Path, step: int) -> None:
    """A run that was stopped right after the save of ``step``."""
    for metrics in full_trainer(folder).run(mean_loss):
        if metrics["step"] == step + 1:
            break


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    stopped(tmp_path, 8)
    damage(tmp_path / CHECKPOINT)
    (tmp_path / "checkpoint-junk.safetensors").write_bytes(b"junk")  # nobody's: never looked at
    capsys.readouterr()
    resumed = full_trainer(tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert resumed.step == 6
    assert len(said) == 1
    assert "going on from checkpoint-00000006.safetensors" in said[0]
    (tmp_path / "checkpoint-junk.safetensors").unlink()
    list(resumed.run(mean_loss))
    assert_same_folder(tmp_path, whole)


def test_two_damaged_checkpoints_are_passed_over(tmp_path: Path) -> None:
    stopped(tmp_path, 8)
    truncated(tmp_path / CHECKPOINT)
    one_bit(tmp_path / "checkpoint-00000006.safetensors")
    assert full_trainer(tmp_path).step == 4


def test_a_lost_newest_checkpoint_is_made_again(tmp_path: Path, whole: Path) -> None:
    stopped(tmp_path, 8)
    (tmp_path / CHECKPOINT).unlink()
    assert full_trainer(tmp_path).step == 6
    train_fully(tmp_path)
    assert_same(tensors(tmp_path), tensors(whole))


def test_nothing_whole_is_refused_and_not_trained_over(tmp_path: Path) -> None:
    stopped(tmp_path, 2)
    truncated(tmp_path / CHECKPOINT)
    with refused("hydra.run.dir=", "no whole checkpoint", "torn"):
        full_trainer(tmp_path)


def test_the_last_k_and_the_best_are_kept(whole: Path) -> None:
    names = {path.name for path in whole.glob("*.safetensors")}
    assert names == {
        CHECKPOINT, MODEL, BEST,
        "checkpoint-00000018.safetensors", "checkpoint-00000016.safetensors",
    }  # fmt: skip


def test_the_best_is_that_of_least_validation_loss(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0, 0.5])
    run = full_trainer(tmp_path)
    for _ in run.run(lambda run: next(values, 9.0)):
        if run.step == 7:
            break
    assert read_checkpoint(tmp_path / BEST)[0].step == 4
    # The value that was reached is remembered: a worse one later is no best.
    resumed = full_trainer(tmp_path)
    for _ in resumed.run(lambda run: 1.5):
        if resumed.step == 11:
            break
    assert read_checkpoint(tmp_path / BEST)[0].step == 4
