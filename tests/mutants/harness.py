"""Runs the quick suite on one mutant after the other, each in a fork that imports the mutant."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType

from tests.mutants.suite import PREFIX, SOLVERS, quick

CAUGHT, HANGS, SURVIVED = "caught", "hangs", "survived"


@dataclass(frozen=True)
class Verdict:
    """``caught`` with the check that raised, ``hangs`` (the tests would never end) or ``survived``;
    CPU seconds."""

    outcome: str
    check: str
    seconds: float


class _Loader(SourceFileLoader):
    """Other source for a file."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.changed = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.changed, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, stem: str, source: str) -> None:
        self.name, self.path, self.source = PREFIX + stem, str(SOLVERS / f"{stem}.py"), source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = _Loader(fullname, self.path, self.source)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


def _child(stem: str, source: str, write: int) -> None:
    """Imports the mutant, runs its checks, and writes what the first that fails is called."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.meta_path.insert(0, _Finder(stem, source))
    name = "import"
    try:
        for title, check in quick(stem):
            name = title
            check()
        found = [SURVIVED, ""]
    except BaseException as error:  # a mutant may raise anything
        found = [CAUGHT, f"{name}: {type(error).__name__}: {error}"[:300]]
    os.write(write, json.dumps(found).encode())
    os.close(write)
    os._exit(0)


def judge(
    work: Sequence[tuple[str, str]], limit: float, jobs: int
) -> Iterator[tuple[int, Verdict]]:
    """(file stem, source) -> verdicts by index, as they come. A fork that takes more than ``limit``
    CPU seconds hangs."""
    if any(name.startswith(PREFIX) for name in sys.modules):
        raise RuntimeError("a solver is imported already: forks would not see its mutants")
    running: dict[int, tuple[int, int]] = {}  # index and pipe by process
    waiting = list(enumerate(work))[::-1]
    while waiting or running:
        while waiting and len(running) < jobs:
            index, (stem, source) = waiting.pop()
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(read)
                signal.setitimer(signal.ITIMER_PROF, limit)
                _child(stem, source, write)
            os.close(write)
            running[pid] = index, read
        pid, status, usage = os.wait3(0)
        index, read = running.pop(pid)
        seconds = usage.ru_utime + usage.ru_stime
        answer = os.read(read, 1 << 16)
        os.close(read)
        if answer:
            outcome, check = json.loads(answer)
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
            outcome, check = HANGS, f"more than {limit:g} s"
        else:
            outcome, check = CAUGHT, f"the process ended with status {status}"
        yield index, Verdict(outcome, check, seconds)
