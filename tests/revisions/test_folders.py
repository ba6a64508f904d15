"""Folders of revision 7a19cb7: finished work is recognised, unfinished work goes on.

``7a19cb7/record_folders.py`` says how they were made. Each test runs a recorded command again, in
a copy, and it must come to the same output folder, redo nothing that is there, and give the numbers
of the revision. The noise has another version since: what is drawn at each call has new numbers,
and unfinished work that holds samples is made again, with a line that says so.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as tensors_of

from sde_diffusion.face.load import load
from tests.conftest import Done, Run
from tests.revisions import machine

HERE = Path(__file__).parent / "7a19cb7"
FACTS = json.loads((HERE / "commands.json").read_text())
COMMANDS: dict[str, dict[str, Any]] = FACTS["commands"]
ELSEWHERE = machine.differences(FACTS["machine"])

# What a command reads where it finds it, by task. It must not be written a second time.
KEPT = {
    "train": ("*.safetensors", "snapshots/*"),
    "extractor": ("small.safetensors",),
    "calibrate": ("parts/*",),
    "compare": ("cells/*",),
    "likelihood": ("parts/*",),
    "interpolate": ("parts/*",),
    "analyse": ("spectrum-*",),
}
# Of an unfinished folder only what the rest of the work leaves as it is.
LEFT = {**KEPT, "train": ("snapshots/*",), "compare": ("cells/*.safetensors",)}
# Numbers that are drawn at each call, by the command and by what their names begin with.
FLOORS = ("floor",)
# The floor is drawn with the classes of the samples since; what is withheld is not ranked since.
RANKS = ("note", "place")
DRAWN = {
    "train": ("val/",),
    "compare": (*FLOORS, *RANKS),
    "compare-fields": (*FLOORS, *RANKS),
    "compare-widths": (*FLOORS, *RANKS),
    "ema": ("loss", "sigma="),
    "sample": ("images", "trajectory"),
    "sample-calibrated": ("images",),
    "sample-vectors": ("x",),
}
# Unfinished work of the old noise: made again, or trained on.
MADE_AGAIN = ("compare", "compare-fields", "calibrate", "likelihood")
TRAINED_ON = ("train", "train-vectors")
# Where and when, what a part of a result is called, and how a class is named.
IGNORED = {
    "date", "machine", "revision", "seconds", "seconds_of_training", "ms_per_image", "images/s",
    "format", "config", "target", "cell", "cells", "guidance",
}  # fmt: skip
Value = float | str | bool | torch.Tensor | None


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As many threads as were recorded with."""
    before = torch.get_num_threads()
    torch.set_num_threads(FACTS["threads"])
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rerun(
    quick_cli: Run, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """``rerun("finished", command)``: the command in a copy of that working directory."""
    monkeypatch.setenv("SDE_DIFFUSION_CACHE", "cache")

    def run(state: str, command: str) -> Done:
        renewed = state == "unfinished" and command in (*MADE_AGAIN, *TRAINED_ON)
        shutil.copytree(HERE / "folders" / state, tmp_path, dirs_exist_ok=True)
        before = content(tmp_path)
        done = quick_cli(*COMMANDS[command]["words"])
        assert outputs(tmp_path) == outputs(HERE / "folders" / state), "another output folder"
        noted = [line for line in done.stderr.splitlines() if "version 1 of the noise" in line]
        assert len(noted) == renewed, done.stderr
        assert done.stderr.count("again") == (renewed and command in MADE_AGAIN), done.stderr
        # References are kept by the content of images and extractor.
        cached = within(before, "cache/references/*")
        assert within(content(tmp_path), "cache/references/*") >= cached
        assert state == "unfinished" or len(cached) == len(list(tmp_path.glob("cache/*/*")))
        return done

    return run


def outputs(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "outputs").iterdir())


def content(root: Path) -> dict[str, tuple[int, str]]:
    """When each file was written, and a digest of its bytes."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in root.rglob("*")
        if path.is_file()
    }


def within(files: dict[str, tuple[int, str]], *patterns: str) -> set[tuple[int, str]]:
    """The files of these names, without their names: a file may be found by another one."""
    return {
        entry
        for name, entry in files.items()
        for pattern in patterns
        if fnmatch(name, pattern) and name.count("/") == pattern.count("/")
    }


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Value]]:
    """The entries of a JSON value, those that are ``IGNORED`` left out."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = ((k, v) for k, v in value.items() if k not in IGNORED and "_fields" not in k)
    elif isinstance(value, list):
        pairs = enumerate(value)
    else:
        yield key, value
    for name, inner in pairs:
        yield from flat(inner, f"{key}.{name}")


def values(path: Path) -> dict[str, Value]:
    """Everything in a result that is a measured number or a fact."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        return dict(tensors_of(data))
    if path.suffix == ".json":
        return dict(flat(json.loads(data)))
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        for row in rows if path.name == "metrics.csv" else ():
            del row["loss"]  # the mean since the last line: since the kill
        return {k: number(v) for k, v in flat(rows) if v not in ("", None)}
    with np.load(io.BytesIO(data)) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files if name not in IGNORED}


def number(text: Any) -> Value:
    try:
        value = float(text)
    except ValueError:
        return str(text)
    return value if math.isfinite(value) else text


def known(x: torch.Tensor) -> torch.Tensor:
    """What cannot be told, such as the spread of a single probe, is no number."""
    return x.double().nan_to_num(-12345)


def agree(found: Value, recorded: Value) -> bool:
    """The same tensors, numbers to the rounding of sums, which go by blocks by now; on another
    machine, to what rounding may change of the pictures."""
    if isinstance(recorded, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        if found.shape != recorded.shape or found.dtype != recorded.dtype:
            return False
        a, b = known(found), known(recorded)
        near = (a - b).abs().mean() <= 1e-2 * b.abs().mean() + 1e-4
        return torch.equal(a, b) or (bool(ELSEWHERE) and bool(near))
    if isinstance(recorded, float) and isinstance(found, float):
        near = {"rel": 5e-2, "abs": 1e-3} if ELSEWHERE else {"rel": 1e-12, "abs": 0.0}
        return found == pytest.approx(recorded, **near)
    return found == recorded


def differing(folder: Path, recorded: Path, drawn: tuple[str, ...] = ()) -> list[str]:
    """What is not as recorded in the results of a folder; entries may have been added.

    Numbers that are ``drawn`` anew must be there.
    """
    names = [
        str(path.relative_to(recorded))
        for path in recorded.rglob("*")
        if path.suffix in (".safetensors", ".json", ".csv", ".npz") and path.parent.name != "cells"
    ]
    found = []
    for name in names:
        mine, theirs = values(folder / name), values(recorded / name)
        new = {k for k in theirs if any(f".{word}" in f".{k}" for word in drawn)}
        ranks = {k for k in new if k.endswith(".place")}
        assert all(type(mine[k]) is type(theirs[k]) for k in new - ranks)
        found += [f"{name}: {k}" for k in theirs.keys() - new if not agree(mine.get(k), theirs[k])]
    assert names
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_finished_work_is_recognised(command: str, rerun: Any, tmp_path: Path) -> None:
    folder, task = Path(COMMANDS[command]["folder"]), COMMANDS[command]["words"][0]
    recorded = HERE / "folders" / "finished" / folder
    rerun("finished", command)
    # The copy keeps the times of the files.
    patterns = KEPT.get(task, ())
    assert within(content(tmp_path / folder), *patterns) == within(content(recorded), *patterns)
    assert not differing(tmp_path / folder, recorded, DRAWN.get(command, ()))
    drawn_now = command in ("ema", "sample", "sample-calibrated", "sample-vectors")
    holds_samples = drawn_now or task in ("compare", "calibrate", "likelihood")
    assert noise_versions(tmp_path / folder) == (
        {2 if drawn_now else 1} if holds_samples else set()
    )


def noise_versions(folder: Path) -> set[Value]:
    """The versions of the noise that the results of a folder say they are of."""
    return {
        int(value)  # type: ignore[arg-type]
        for path in folder.glob("result*.*")
        for key, value in values(path).items()
        if key.endswith(".noise_version")
    }


@pytest.mark.parametrize("command", ["extractor", "interpolate"])
def test_unfinished_work_goes_on(command: str, rerun: Any, tmp_path: Path) -> None:
    """To the results of the run that was not killed."""
    folder, task = Path(COMMANDS[command]["folder"]), COMMANDS[command]["words"][0]
    recorded = HERE / "folders" / "finished" / folder
    rerun("unfinished", command)
    left = within(content(HERE / "folders" / "unfinished" / folder), *LEFT[task])
    after = within(content(tmp_path / folder), *LEFT[task])
    assert left
    assert left <= after
    assert len(after) == len(within(content(recorded), *LEFT[task]))
    assert not differing(tmp_path / folder, recorded)


@pytest.mark.parametrize("command", TRAINED_ON)
def test_unfinished_training_goes_on(command: str, rerun: Any, tmp_path: Path) -> None:
    """With what it has, from the step of its checkpoint: those before it are not logged again."""
    folder = Path(COMMANDS[command]["folder"])
    done = rerun("unfinished", command)
    steps = {"train": (8, 12), "train-vectors": (3, 6)}[command]
    assert f"steps from {steps[0] + 1} on" in done.stderr
    logged = re.findall(r"^step (\d+): validation", done.stdout, re.MULTILINE)
    assert logged
    assert all(steps[0] < int(step) <= steps[1] for step in logged)
    kept = within(content(HERE / "folders" / "unfinished" / folder), *LEFT["train"])
    after = within(content(tmp_path / folder), *LEFT["train"])
    assert kept <= after
    finished = within(content(HERE / "folders" / "finished" / folder), *LEFT["train"])
    assert len(after) == len(finished)
    assert load(tmp_path / folder / "model.safetensors").classes in (2, 10)


@pytest.mark.parametrize("command", MADE_AGAIN)
def test_unfinished_samples_are_drawn_again(
    command: str, rerun: Any, quick_cli: Run, tmp_path: Path
) -> None:
    """All of them, as in a folder in which nothing is; what the revision left is left alone."""
    folder, task = tmp_path / COMMANDS[command]["folder"], COMMANDS[command]["words"][0]
    rerun("unfinished", command)
    old = within(
        content(HERE / "folders" / "unfinished" / COMMANDS[command]["folder"]), *LEFT[task]
    )
    after = within(content(folder), *LEFT[task])
    assert old <= after
    recorded = content(HERE / "folders" / "finished" / COMMANDS[command]["folder"])
    assert len(after - old) == len(within(recorded, *LEFT[task]))
    assert noise_versions(folder) == {2}
    assert not [path for path in (folder / "cells").glob("*") if path.is_dir()]
    shutil.move(folder, tmp_path / "made again")
    before = outputs(tmp_path)
    quick_cli(*COMMANDS[command]["words"])
    (name,) = set(outputs(tmp_path)) - set(before)  # a name of its own, not the revision's
    shutil.rmtree(tmp_path / "outputs" / name / "parts", ignore_errors=True)
    assert not differing(tmp_path / "made again", tmp_path / "outputs" / name)


def test_a_folder_that_the_revision_named_is_told_once(rerun: Any) -> None:
    """Its digest was of keys that have other names now; where none has, the name is the same."""
    assert rerun("finished", "train-vectors").stdout.count("an earlier revision named it") == 1
    assert "earlier revision" not in rerun("finished", "ema").stdout


@pytest.mark.parametrize("name", ["model", "best", "ema-*", "tiny"])
def test_models_open(name: str) -> None:
    paths = sorted((HERE / "folders" / "finished").rglob(f"{name}.safetensors"))
    assert paths
    for path in paths:
        model = load(path)
        assert model.classes in (2, 10)
        assert bool(model.sample(n=2, nfe=2, label=1, solver="ddim").x.isfinite().all())
