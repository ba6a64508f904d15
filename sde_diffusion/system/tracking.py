"""Where numbers, tables and pictures of a run go: nowhere, a CSV file, or Weights & Biases."""

from __future__ import annotations

import contextlib
import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, final

from sde_diffusion.system.identity import Component
from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.notice import notice, printable
from sde_diffusion.system.storage import csv_text, write_atomically

T = TypeVar("T", bound="Tracker")


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
    """``inner``, whose failures end no job. The first is one line; numbers that are not taken go to
    ``metrics.csv`` of the job's folder, where all else lies as files."""

    def __init__(self, inner: Tracker) -> None:
        self.inner = inner
        self._job: Job | None = None
        self._spare: CsvTracker | None = None
        self._open = self._failed = False

    def start(self, job: Job) -> None:
        self._job, self._open = job, True
        self._open = self._try(lambda: self.inner.start(job))

    def log(self, metrics: dict[str, float], step: int) -> None:
        if not self._try(lambda: self.inner.log(metrics, step)):
            self._keep(metrics, step)

    def point(self, series: str, axis: str, metrics: dict[str, float], step: int) -> None:
        if not self._try(lambda: self.inner.point(series, axis, metrics, step)):
            self._keep(metrics, step)

    def complete(self) -> None:
        if not self._failed:  # what was not logged is logged when the job is run again
            self._try(self.inner.complete)

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        self._try(lambda: self.inner.table(name, rows))

    def image(self, name: str, path: Path) -> None:
        self._try(lambda: self.inner.image(name, path))

    def page(self, name: str, path: Path) -> None:
        self._try(lambda: self.inner.page(name, path))

    def finish(self) -> None:
        self._try(self.inner.finish)

    def _try(self, call: Callable[[], None]) -> bool:
        if not self._open or self._job is None:  # it did not start
            return False
        try:
            call()
        except Exception as error:  # whatever a library raises
            passed_on(error)
            if not self._failed:
                notice(
                    f"tracker: {printable(error, 200) or type(error).__name__}; the run goes on, "
                    f"and what it finds is in {self._job.folder}, numbers in its metrics.csv"
                )
            self._failed = True
            return False
        return True

    def _keep(self, metrics: dict[str, float], step: int) -> None:
        if self._job is None:
            return
        with contextlib.suppress(Exception):  # of a folder that has gone, say
            if self._spare is None:
                self._spare = CsvTracker()
                self._spare.start(self._job)
            self._spare.log(metrics, step)


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
