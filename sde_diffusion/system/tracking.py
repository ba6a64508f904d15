"""Where numbers, tables and pictures of a run go: nowhere, a CSV file, or Weights & Biases."""

from __future__ import annotations

import csv
import math
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, final

from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component, digest
from sde_diffusion.system.notice import notice, printable
from sde_diffusion.system.storage import csv_text, write_atomically

T = TypeVar("T", bound="Tracker")
MODES = (None, "online", "offline", "disabled")
# What wandb takes: letters of a tag, of a group and of a project, and none of these in a project.
MOST_TAG, MOST_NAME, RESERVED = 64, 128, set("/\\#?%:")
RUN_ID = re.compile(rb"[\w-]{1,64}")


@dataclass(frozen=True)
class Job:
    """What a log is told of a job: its plain resolved config, its folder and its names."""

    config: dict[str, Any]
    folder: Path
    name: str
    group: str
    tags: Sequence[str] = ()
    title: str = ""  # what tells it from others: its task, model, solver and NFE


class Tracker(Component, ABC, known_as="tracker"):
    """A run's log. ``start`` once, then any of the others; a ``with`` block finishes it."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Open the log of a job."""

    @abstractmethod
    def log(self, metrics: dict[str, float], step: int) -> None:
        """Numbers at an explicit step."""

    def point(self, series: str, axis: str, metrics: dict[str, float], step: int) -> None:
        """Numbers of one of several series, a solver, say, at ``metrics[axis]``."""
        self.log(metrics, step)

    def complete(self) -> None:
        """The job has come to its end; what it logs when it is run again is the same."""

    @abstractmethod
    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """A table; all rows have the same keys."""

    @abstractmethod
    def image(self, name: str, path: Path) -> None:
        """A picture file, still or moving."""

    @abstractmethod
    def page(self, name: str, path: Path) -> None:
        """A self-contained HTML file."""

    @abstractmethod
    def finish(self) -> None:
        """Close the log of the job."""

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()


class NoTracker(Tracker):
    """Keeps nothing."""

    def start(self, job: Job) -> None:
        return None

    def log(self, metrics: dict[str, float], step: int) -> None:
        return None

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        return None

    def image(self, name: str, path: Path) -> None:
        return None

    def page(self, name: str, path: Path) -> None:
        return None

    def finish(self) -> None:
        return None


@final
class Unfailing(Tracker):
    """``inner``, whose failures end no job: its files are the record. The first is one line."""

    def __init__(self, inner: Tracker) -> None:
        self.inner = inner
        self._folder: Path | None = None
        self._silent = False

    def start(self, job: Job) -> None:
        if self._try(lambda: self.inner.start(job), job.folder):
            self._folder = job.folder

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._try(lambda: self.inner.log(metrics, step), self._folder)

    def point(self, series: str, axis: str, metrics: dict[str, float], step: int) -> None:
        self._try(lambda: self.inner.point(series, axis, metrics, step), self._folder)

    def complete(self) -> None:
        self._try(self.inner.complete, self._folder)

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        self._try(lambda: self.inner.table(name, rows), self._folder)

    def image(self, name: str, path: Path) -> None:
        self._try(lambda: self.inner.image(name, path), self._folder)

    def page(self, name: str, path: Path) -> None:
        self._try(lambda: self.inner.page(name, path), self._folder)

    def finish(self) -> None:
        self._try(self.inner.finish, self._folder)

    def _try(self, call: Callable[[], None], folder: Path | None) -> bool:
        if folder is None:  # it did not start
            return False
        try:
            call()
        except Exception as error:  # whatever a library raises
            if not self._silent:
                notice(
                    f"tracker: {printable(error, 200)}; the run goes on, and what it finds is in "
                    f"{folder}"
                )
            self._silent = True
            return False
        return True


class CsvTracker(NoTracker):
    """``metrics.csv`` in the job's folder, one row a step; a resumed run rewrites its later rows.

    Tables and pictures already lie in the folder as files of their own.
    """

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, str]] = {}
        self._path: Path | None = None

    def start(self, job: Job) -> None:
        self._path = job.folder / "metrics.csv"
        self._rows = {}
        if self._path.is_file():
            try:
                with open(self._path, newline="") as file:
                    self._rows = {int(row["step"]): row for row in csv.DictReader(file)}
            except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
                notice(f"{self._path.name}: not usable ({printable(error)}); begun anew")

    def log(self, metrics: dict[str, float], step: int) -> None:
        # What an interrupted run logged after its last checkpoint is taken back.
        self._rows = {k: row for k, row in self._rows.items() if k <= step}
        row = self._rows.get(step, {"step": str(step)})
        self._rows[step] = {**row, **{k: repr(float(v)) for k, v in metrics.items()}}
        self._write()

    def _write(self) -> None:
        if self._path is None:
            raise RuntimeError("log() before start()")
        text = csv_text([self._rows[step] for step in sorted(self._rows)])
        write_atomically(self._path, text.encode())


class WandbTracker(Tracker):
    """Weights & Biases. Online if logged in, else offline; never a hang, never a lost run.

    Args:
        project, entity: where the run goes. tags: added to the task's own.
        group: groups the jobs of a sweep; null: the sweep's folder, or the task.
        mode: online, offline, disabled; null: WANDB_MODE, else online if logged in, else offline.
    """

    def __init__(
        self,
        project: str = "sde_diffusion",
        entity: str | None = None,
        group: str | None = None,
        mode: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        if mode not in MODES:
            raise InputError(f"tracker.mode={mode}: choose online, offline, disabled or null")
        for key, name in (("project", project), ("entity", entity or "")):
            if len(name) > MOST_NAME or RESERVED & set(name) or not (name or key == "entity"):
                raise InputError(
                    f"tracker.{key}={name}: give a name of at most {MOST_NAME} letters without "
                    f"{' '.join(sorted(RESERVED))}"
                )
        self.project, self.entity, self.group = project, entity, group
        self.mode, self.tags = mode, list(tags)
        self._run: Any = None
        self._done: Path | None = None
        self._job = ""
        self._least: dict[str, float] = {}  # the smallest number of each name so far

    def start(self, job: Job) -> None:
        import wandb

        job.folder.mkdir(parents=True, exist_ok=True)
        self._done, self._job = job.folder / "wandb-done.txt", digest(job.config)
        if self._done.is_file() and self._done.read_text().strip() == self._job:
            notice(f"wandb: run {_run_id(job.folder)} has this job whole; nothing is logged twice")
            self._run = Repeated()
            return
        options: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "name": job.title or job.name,
            "group": (self.group or job.group)[:MOST_NAME],
            "job_type": job.name,
            "tags": list(dict.fromkeys(t[:MOST_TAG] for t in (*job.tags, *self.tags) if t)),
            "dir": str(job.folder),
            "config": job.config,
            "id": _run_id(job.folder),
            "resume": "allow",
        }
        mode: Any = self.mode or os.environ.get("WANDB_MODE")
        why = "tracker.mode" if self.mode else "WANDB_MODE"
        if not mode:
            mode, why = _mode_by_login()
        if mode == "offline":
            runs = job.folder / "wandb"
            notice(f"wandb: offline, by {why}; 'wandb sync {runs}/offline-run-*' sends it later")
        try:
            self._run = wandb.init(mode=mode, **options)
        except Exception as error:
            if mode != "online":
                raise  # offline would fail in the same way
            notice(f"wandb: not reachable ({printable(error, 200)}); logging offline")
            self._run = wandb.init(mode="offline", **options)

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._run.log(metrics, step=step)

    def point(self, series: str, axis: str, metrics: dict[str, float], step: int) -> None:
        """``fd/unipc`` against ``nfe``; the summary has the smallest of each as well, ``fd``."""
        for name, number in metrics.items():
            if name != axis:
                self._run.define_metric(f"{name}/{series}", step_metric=axis, summary="last")
                self._run.log({axis: metrics[axis], f"{name}/{series}": number})
                least = self._least[name] = min(self._least.get(name, math.inf), number)
                self._run.summary[name] = least

    def complete(self) -> None:
        if self._done is not None:
            write_atomically(self._done, self._job.encode())

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        import wandb

        columns = list(rows[0]) if rows else []
        data = [[row[column] for column in columns] for row in rows]
        self._run.log({name: wandb.Table(columns=columns, data=data)})

    def image(self, name: str, path: Path) -> None:
        import wandb

        self._run.log({name: wandb.Image(str(path))})

    def page(self, name: str, path: Path) -> None:
        import wandb

        self._run.log({name: wandb.Html(str(path))})

    def finish(self) -> None:
        if self._run is not None:
            run, self._run = self._run, None
            run.finish()


def _run_id(folder: Path) -> str:
    """The id stored in the job's folder, so that a resumed job goes on in its run; another one
    where that is damaged."""
    path = folder / "wandb-id.txt"
    if not path.is_file() or not RUN_ID.fullmatch(path.read_bytes().strip()):
        write_atomically(path, uuid.uuid4().hex[:8].encode())
    return path.read_text().strip()


class Repeated:
    """A run that has logged this job before: it takes everything and keeps nothing."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}

    def log(self, *args: Any, **options: Any) -> None:
        """Nothing."""

    def define_metric(self, *args: Any, **options: Any) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


def _mode_by_login() -> tuple[str, str]:
    """The mode, and what it is chosen by."""
    import wandb

    try:
        return ("online", "login") if wandb.login(prompt=False) else ("offline", "no login")
    except Exception as error:  # with a key and no network it raises
        return "offline", f"a login that failed ({printable(error, 120)})"
