"""Weights & Biases as a tracker: what goes wrong with its service is bounded in time."""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, final

from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import digest
from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.notice import notice, printable
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Job, Tracker

T = TypeVar("T")
MODES = (None, "online", "offline", "disabled")
# What wandb takes: letters of a tag, of a group and of a project, and none of these in a project.
MOST_TAG, MOST_NAME, RESERVED = 64, 128, set("/\\#?%:")
RUN_ID = re.compile(rb"[\w-]{1,64}")
# Seconds that its service has to begin a run, to send what is left, to end.
BEGIN, SEND, DROP = 180.0, 300.0, 5.0


@final
class Service:
    """A process beside this one that may die, or hang: what it is asked ends in bounded time."""

    def __init__(self) -> None:
        self.failed = self._silent = False

    def ask(self, call: Callable[[], T], seconds: float) -> T:
        """The answer of ``call``, or what it raises; TimeoutError after so many ``seconds``, and
        from then on at once."""
        if self._silent:
            raise TimeoutError("wandb's service is silent")
        answers: list[T] = []
        faults: list[Exception] = []

        def work() -> None:
            try:
                answers.append(call())
            except Exception as error:
                faults.append(error)
            except SystemExit as stop:
                faults.append(RuntimeError(f"wandb ended with status {stop.code}"))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(seconds)
        if answers:
            return answers[0]
        self.failed, self._silent = True, not faults
        raise faults[0] if faults else TimeoutError(f"wandb's service is silent for {seconds:g} s")

    def drop(self) -> None:
        """Leave a service that failed, which Python's exit would wait for, or fail at; the next job
        begins one of its own."""
        import wandb

        if self.failed:
            self._silent = False
            with contextlib.suppress(Exception):
                self.ask(wandb.teardown, DROP)


class WandbTracker(Tracker):
    """Weights & Biases. Online if logged in, else offline; never a hang, never a lost run.

    Args:
        project, entity: where the run goes. tags: added to the task's own.
        group: groups the jobs of a sweep; null: the sweep's folder, or the task.
        mode: online, offline, disabled; null: WANDB_MODE, else online if logged in, else offline.
    """

    patience = 60.0  # seconds that its service has to take something

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
        self._service = Service()
        self._run: Any = None
        self._sends = False
        self._done: Path | None = None
        self._job = ""
        self._least: dict[str, float] = {}  # the smallest number of each name so far

    def start(self, job: Job) -> None:
        import wandb

        job.folder.mkdir(parents=True, exist_ok=True)
        self._done, self._job = job.folder / "wandb-done.txt", digest(job.config)
        if self._done.is_file() and self._done.read_text(errors="replace").strip() == self._job:
            notice(f"wandb: run {_run_id(job.folder)} has this job whole; nothing is logged twice")
            self._run = Repeated()
            return
        mode: Any = self.mode or os.environ.get("WANDB_MODE")
        why = "tracker.mode" if self.mode else "WANDB_MODE"
        if not mode:
            mode, why = _mode_by_login()
        self._sends = mode == "online"
        if mode == "offline":
            runs = job.folder / "wandb"
            notice(f"wandb: offline, by {why}; 'wandb sync {runs}/offline-run-*' sends it later")
        begun = partial(wandb.init, **self._options(job))
        try:
            self._run = self._service.ask(lambda: begun(mode=mode), BEGIN)
        except Exception as error:
            passed_on(error)
            self._service.drop()
            if mode != "online":
                raise  # offline would fail in the same way
            notice(f"wandb: not reachable ({printable(error, 200)}); logging offline")
            self._run = self._service.ask(lambda: begun(mode="offline"), BEGIN)

    def _options(self, job: Job) -> dict[str, Any]:
        """What wandb is told of a job."""
        return {
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

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._ask(lambda run: run.log(metrics, step=step))

    def point(self, series: str, axis: str, metrics: dict[str, float], step: int) -> None:
        """``fd/unipc`` against ``nfe``; the summary has the smallest of each as well, ``fd``."""

        def logged(run: Any) -> None:
            for name, number in metrics.items():
                if name != axis:
                    run.define_metric(f"{name}/{series}", step_metric=axis, summary="last")
                    run.log({axis: metrics[axis], f"{name}/{series}": number})
                    least = self._least[name] = min(self._least.get(name, math.inf), number)
                    run.summary[name] = least

        self._ask(logged)

    def complete(self) -> None:
        if self._done is not None:
            write_atomically(self._done, self._job.encode())

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        import wandb

        columns = list(rows[0]) if rows else []
        data = [[row[column] for column in columns] for row in rows]
        self._ask(lambda run: run.log({name: wandb.Table(columns=columns, data=data)}))

    def image(self, name: str, path: Path) -> None:
        import wandb

        self._ask(lambda run: run.log({name: wandb.Image(str(path))}))

    def page(self, name: str, path: Path) -> None:
        import wandb

        self._ask(lambda run: run.log({name: wandb.Html(str(path))}))

    def finish(self) -> None:
        if self._run is not None:
            run, self._run = self._run, None
            try:
                self._service.ask(run.finish, SEND if self._sends else self.patience)
            finally:
                self._service.drop()

    def _ask(self, call: Callable[[Any], None]) -> None:
        """Of the run; RuntimeError before it has begun and after its end."""
        run = self._run
        if run is None:
            raise RuntimeError("wandb: no run is open")
        self._service.ask(lambda: call(run), self.patience)


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
