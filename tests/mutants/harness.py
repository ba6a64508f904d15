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
from pathlib import Path
from types import CodeType, ModuleType

from tests.mutants.suite import FILES, PREFIX, ROOT, SOLVERS, TESTS, quick

CAUGHT, HANGS, SURVIVED = "caught", "hangs", "survived"


@dataclass(frozen=True)
class Verdict:
    """``caught`` by the check that raised, ``hangs`` (it would never end) or ``survived``; what was
    raised; CPU seconds."""

    outcome: str
    check: str
    message: str
    seconds: float


@dataclass(frozen=True)
class Work:
    """A solver file with other source, and the names of the checks to run; all if none."""

    stem: str
    source: str
    only: frozenset[str] = frozenset()


class _Loader(SourceFileLoader):
    """Code that is compiled already."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Finder(MetaPathFinder):
    """The modules that a fork imports, compiled before, so that it need not; one is the mutant."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, CodeType]] = {}
        for folder in (SOLVERS, SOLVERS.parent / "exact", TESTS):
            for path in folder.rglob("*.py"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                if path.stem == "__init__":
                    continue
                self.add(".".join(parts), path, path.read_text())

    def add(self, name: str, path: Path, source: str) -> None:
        self.known[name] = str(path), compile(source, path, "exec", dont_inherit=True)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.known:
            return None
        place, code = self.known[fullname]
        loader = _Loader(fullname, place, code)
        return importlib.util.spec_from_file_location(fullname, place, loader=loader)


def _child(finder: _Finder, work: Work, limit: float, write: int) -> None:
    """Imports the mutant, runs its checks, and writes what the first that fails is called."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.meta_path.insert(0, finder)
    found, name = [SURVIVED, "", ""], "import"
    try:
        path = FILES[work.stem]
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        finder.add(module, path, work.source)
        for title, check in quick(work.stem):
            name = title
            if work.only and name not in work.only:
                continue
            # A test file holds many checks.
            parts = 8 if title.startswith("test_") else 1
            signal.setitimer(signal.ITIMER_PROF, parts * limit)
            check()
    except BaseException as error:  # a mutant may raise anything
        found = [CAUGHT, name, f"{type(error).__name__}: {error}"[:300]]
    os.write(write, json.dumps(found).encode())
    os.close(write)
    os._exit(0)


def judge(work: Sequence[Work], limit: float, jobs: int) -> Iterator[tuple[int, Verdict]]:
    """Verdicts by index, as they come. A check that takes more than ``limit`` CPU seconds, several
    times what it takes as things are, would never end."""
    if any(name.startswith(PREFIX) for name in sys.modules):
        raise RuntimeError("a solver is imported already: forks would not see its mutants")
    finder = _Finder()
    running: dict[int, tuple[int, int]] = {}  # index and pipe by process
    waiting = list(enumerate(work))[::-1]
    while waiting or running:
        while waiting and len(running) < jobs:
            index, item = waiting.pop()
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(read)
                _child(finder, item, limit, write)
            os.close(write)
            running[pid] = index, read
        pid, status, usage = os.wait3(0)
        index, read = running.pop(pid)
        seconds = usage.ru_utime + usage.ru_stime
        answer = os.read(read, 1 << 16)
        os.close(read)
        if answer:
            outcome, check, message = json.loads(answer)
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
            outcome, check, message = HANGS, "", f"more than {limit:g} s"
        else:
            outcome, check, message = CAUGHT, "", f"the process ended with status {status}"
        yield index, Verdict(outcome, check, message, seconds)
