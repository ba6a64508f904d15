"""``python -m tests.robustness KIND --number 2000``: random cases in worker processes.

KIND is ``configs``, ``loaders``, ``damage`` or ``commands``. A worker that takes more than a minute
of a processor for a case, or ten of the clock, is ended, and counts as a fault. Each case is a line
of a file as soon as it is known, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import time
import warnings
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from tests.robustness import commands, configs, damage, loaders
from tests.robustness.draws import Seeded
from tests.robustness.jobs import CPU

KINDS: dict[str, Callable[[int], tuple[str, str]]] = {
    "configs": lambda seed: configs.outcome(configs.drawn(Seeded(seed))),
    "loaders": lambda seed: loaders.outcome(loaders.drawn(Seeded(seed))),
    "damage": lambda seed: damage.outcome(damage.drawn(Seeded(seed))),
    "commands": commands.outcome,
}
DIED = "the process died"
CLOCK = 600.0  # most seconds of the clock for a case, on a machine that others may use


def work(pipe: Connection, kind: str) -> None:
    """Answer seeds with outcomes, and the most MiB so far, until the pipe is closed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    while (seed := pipe.recv()) is not None:
        spent = int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (spent + CPU, resource.RLIM_INFINITY))
        with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
            found = KINDS[kind](seed)
        whose = resource.RUSAGE_CHILDREN if kind == "commands" else resource.RUSAGE_SELF
        pipe.send((*found, resource.getrusage(whose).ru_maxrss / 1024))


class Worker:
    """A process that outlives what it is asked, or is replaced."""

    def __init__(self, kind: str) -> None:
        self.kind, self.most = kind, 0.0
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, self.kind), daemon=True)
        self.process.start()
        other.close()

    def ask(self, seed: int, seconds: float) -> tuple[str, str]:
        """The outcome; a fault if none comes in time."""
        try:
            self.pipe.send(seed)
            if self.pipe.poll(seconds):
                kind, said, most = self.pipe.recv()
                self.most = max(self.most, most)
                return kind, said
            said = f"no answer in {seconds:g} s"
        except (EOFError, ConnectionError):
            said = DIED
        self.end()
        self._begin()
        return "fault", said

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def lines(path: Path) -> dict[int, dict[str, Any]]:
    """The cases of a file by their seeds; a line that was not written to its end is none."""
    whole = path.read_text().split("\n")[:-1] if path.is_file() else []
    return {case["seed"]: case for case in map(json.loads, whole)}


def resumed(path: Path) -> dict[int, dict[str, Any]]:
    """The same; what was not written to its end is taken out of the file."""
    known = lines(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(case) + "\n" for case in known.values()))
    return known


def run(kind: str, seeds: range, out: Path, within: float) -> None:
    """Those of the cases that ``out`` has not yet, and that fit ``within`` seconds."""
    known, began, worker = resumed(out), time.monotonic(), Worker(kind)
    for seed in seeds:
        start = time.monotonic()
        if seed in known or start - began > within:
            continue
        found, said = worker.ask(seed, CLOCK)
        case = {"seed": seed, "found": found, "seconds": round(time.monotonic() - start, 1)}
        case |= {"most_mib": round(worker.most)}
        if found == "fault":
            case["said"] = said[:600]
            print(f"{kind}, seed {seed}: {said[:600]}", flush=True)
        with open(out, "a") as file:
            file.write(json.dumps(case) + "\n")
    worker.end()


def counted(out: Path) -> dict[str, Any]:
    """What the cases of a file came to."""
    cases = list(lines(out).values())
    counts = Counter(case["found"] for case in cases)
    return {
        "cases": counts.total(), **{"fault": 0, **counts},
        "longest_seconds": max((case["seconds"] for case in cases), default=0.0),
        "most_mib": max((case["most_mib"] for case in cases), default=0),
        "faults": [case for case in cases if case["found"] == "fault"],
    }  # fmt: skip


def main(words: list[str]) -> None:
    """Run the cases that are not known yet, and print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--within", type=float, default=1e9, help="stop after these seconds")
    parser.add_argument("--out", type=Path, help="outputs/robustness/KIND.jsonl by default")
    asked = parser.parse_args(words)
    out = asked.out or Path("outputs/robustness") / f"{asked.kind}.jsonl"
    run(asked.kind, range(asked.first, asked.first + asked.number), out, asked.within)
    print({k: v for k, v in counted(out).items() if k != "faults"})
