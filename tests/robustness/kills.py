"""A command disturbed at a random moment and given again: its folder is the undisturbed one's.

Every task that writes is killed, interrupted, stopped by a full disk, refused its folder, robbed of
it, or started twice at once. What is the same must be the same byte by byte, but for dates, seconds
and rates; a disturbed command that speaks does so in one line.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.robustness.contents import contents, differing
from tests.robustness.jobs import TRACEBACK, Ended, Job
from tests.tiny_model import write_tiny

OUT = "out"
PIXEL = "extractor=pixel extractor.channels=1 extractor.height=8 extractor.width=8"
TASKS = {
    "sample": "checkpoint=tiny.safetensors n=4 nfe=4 animation=true trajectory=true",
    "compare": "checkpoint=tiny.safetensors solvers=[ddim,heun] nfe=[2,4] samples=[4,8] "
    f"reference=images.npz metric=[] {PIXEL}",
    "train": "data=npz data.path=images.npz network=unet_small network.widths=[8] network.blocks=1 "
    "network.embedding=8 network.attention=[] steps=8 batch_size=4 save_every=2 warmup=0 "
    "snapshot_every=2 tracker=csv",
    "ema": "checkpoint=run data=npz data.path=images.npz width=[.05,.1] images=8",
    "calibrate": "checkpoint=tiny.safetensors data=digits nfe=[2] noises=8 held_out=4 tries=2 "
    "nodes=4 budget=2",
    "evaluate": f"images=images.npz reference=others.npz metric=[] {PIXEL}",
    "reference": f"data=npz data.path=images.npz {PIXEL}",
    "extractor": "data=npz data.path=images.npz epochs=1 dim=4 name=small",
    "interpolate": "checkpoint=tiny.safetensors images=images.npz pairs=3 steps=3 error=.1 "
    "batch_size=1",
    "likelihood": "checkpoint=tiny.safetensors data=npz data.path=images.npz n=3 error=.9 probes=1 "
    "batch_size=1 prior=isotropic",
    "convert": f"checkpoint=tiny.safetensors output={OUT}/converted.safetensors",
    "analyse": "data=npz data.path=images.npz solvers=[ddim,heun] grids=[default,karras] nfe=[4]",
}  # fmt: skip
WAYS = ("kill", "terminate", "interrupt", "full", "read-only", "removed", "twice")
SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}
# What a command says, at most once, beside what it loaded.
LINE = "sde-diffusion: "


def words(task: str) -> list[str]:
    """The command line of a task."""
    return [task, *TASKS[task].split(), f"hydra.run.dir={OUT}"]


@dataclass(frozen=True)
class Undisturbed:
    """The files that a task leaves, how long it takes, and how many moments its writes have."""

    files: dict[str, Any]
    seconds: float
    moments: int


class Bench:
    """The inputs of all tasks, and what each leaves undisturbed, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inputs()

    def place(self) -> Path:
        """A new working folder with the inputs in it."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copytree(self.folder / "inputs", place, dirs_exist_ok=True)
        return place

    @cache  # noqa: B019  # one bench a process
    def undisturbed(self, task: str) -> Undisturbed:
        """What a task leaves and takes."""
        place = self.place()
        counted = place / "moments"
        counted.write_bytes(b"")
        began = time.monotonic()
        ended = Job(words(task), place, lambda: _at_writes(lambda _: _append(counted))).wait()
        if ended.status:
            raise RuntimeError(f"{task}: {ended.stderr}")
        spent = time.monotonic() - began
        left = Undisturbed(contents(place / OUT), spent, counted.stat().st_size)
        shutil.rmtree(place)
        return left

    def _inputs(self) -> None:
        place = self.folder / "inputs"
        place.mkdir(parents=True)
        write_tiny(place / "tiny.safetensors", classes=3)
        rng = np.random.default_rng(0)
        for name in ("images", "others"):
            pixels = rng.integers(0, 256, (160, 8, 8, 1), dtype=np.uint8)
            np.savez(place / f"{name}.npz", images=pixels, labels=np.arange(160) % 3)
        ended = Job([*words("train")[:-1], "hydra.run.dir=run"], place).wait()
        if ended.status:
            raise RuntimeError(ended.stderr)


def disturbed(bench: Bench, task: str, way: str, draw: random.Random) -> tuple[str, bool]:
    """What is wrong after a task was disturbed and given again, nothing if all is right; and
    whether the disturbance kept it from its end."""
    left = bench.undisturbed(task)
    place = bench.place()
    try:
        ended = DISTURBANCES[way](place, task, left, draw)
        return wrong_end(ended, way) or wrong_after(place, task, way, left), ended.status != 0
    finally:
        shutil.rmtree(place)


def wrong_after(place: Path, task: str, way: str, left: Undisturbed) -> str:
    """What is wrong after the same command again; nothing if all is right."""
    again = Job(words(task), place).wait()
    if again.status or "Traceback" in again.stderr or "made again" in again.stderr:
        return f"the second command ends with {again.status}: {again.stderr[-600:]}"
    names = differing(left.files, contents(place / OUT))
    if way == "removed":  # pictures of steps that were over are gone with the folder
        names = [name for name in names if not name.endswith((".png", ".webp", ".yaml"))]
    return f"differ from the undisturbed run: {', '.join(names)}" if names else ""


def wrong_end(ended: Ended, way: str) -> str:
    """What is wrong with how a disturbed command ended."""
    # A progress bar that was stopped has no end of line of its own.
    said = re.findall(rf"(?:^|[\r\n]|image/s\]){re.escape(LINE)}", ended.stderr)
    if "Traceback" in ended.stderr or ended.status == TRACEBACK:
        return f"traceback: {ended.stderr[-600:]}"
    if ended.status > 0 and len(said) != 1:
        return f"exit status {ended.status} with {len(said)} lines: {ended.stderr[-600:]}"
    if way == "interrupt" and ended.status not in (0, 130):
        return f"exit status {ended.status} after an interrupt"
    return ""


def _signalled(way: str) -> Callable[..., Ended]:
    """A signal at a random time, or at a random one of the moments around a file's rename."""

    def disturb(place: Path, task: str, left: Undisturbed, draw: random.Random) -> Ended:
        if draw.random() < 0.5:
            job = Job(words(task), place)
            time.sleep(left.seconds * draw.random())
            job.send(SIGNALS[way])
            return job.wait()
        at = draw.randrange(left.moments)
        return Job(words(task), place, lambda: _at_write(at, SIGNALS[way])).wait()

    return disturb


def _at_write(at: int, number: int) -> None:
    """This process gets a signal at one of the moments before, within and after its writes."""
    _at_writes(lambda moment: os.kill(os.getpid(), number) if moment == at else None)


def _append(path: Path) -> None:
    """One more byte: what a process that ends without a word has counted."""
    with open(path, "ab") as file:
        file.write(b".")


def _at_writes(tell: Callable[[int], None]) -> None:
    """``tell`` is called with its number at each moment of this process's writes."""
    moments = itertools.count()
    fsync, replace = os.fsync, os.replace

    def moment() -> None:
        tell(next(moments))

    def synced(descriptor: int) -> None:
        moment()
        fsync(descriptor)

    def replaced(source: Any, target: Any) -> None:
        moment()
        replace(source, target)
        moment()

    os.fsync, os.replace = synced, replaced  # type: ignore[assignment]


def _full(place: Path, task: str, left: Undisturbed, draw: random.Random) -> Ended:
    """No file may be longer than some share of the longest: to a writer, a full disk."""
    longest = max(path.stat().st_size for path in (place / "run").rglob("*") if path.is_file())
    most = int(longest ** draw.uniform(0.4, 1.0))

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return Job(words(task), place, limited).wait()


def _read_only(place: Path, task: str, left: Undisturbed, draw: random.Random) -> Ended:
    """The folder belongs to somebody else; what is in the way of a folder is a file, for root."""
    blocked = place / OUT
    if os.geteuid():
        blocked.mkdir(mode=0o500)
    else:
        blocked.write_text("")
    ended = Job(words(task), place).wait()
    if os.geteuid():
        blocked.rmdir()
    else:
        blocked.unlink()
    return ended


def _removed(place: Path, task: str, left: Undisturbed, draw: random.Random) -> Ended:
    """Somebody removes the folder while the command runs."""
    job = Job(words(task), place)
    time.sleep(left.seconds * draw.random())
    shutil.rmtree(place / OUT, ignore_errors=True)
    return job.wait()


def _twice(place: Path, task: str, left: Undisturbed, draw: random.Random) -> Ended:
    """The same command again before the first has ended: one of the two is refused, or waits."""
    jobs = [Job(words(task), place)]
    time.sleep(left.seconds * draw.random() * 0.8)
    jobs.append(Job(words(task), place, name="second"))
    ends = [job.wait() for job in jobs]
    refused = [end for end in ends if end.status]
    if len(refused) > 1:
        return Ended(TRACEBACK, "", f"both are refused: {ends}")
    if refused and "another job writes here" not in refused[0].stderr:
        return Ended(TRACEBACK, "", refused[0].stderr)
    return refused[0] if refused else ends[0]


DISTURBANCES: dict[str, Callable[..., Ended]] = {
    **{way: _signalled(way) for way in SIGNALS},
    "full": _full, "read-only": _read_only, "removed": _removed, "twice": _twice,
}  # fmt: skip
