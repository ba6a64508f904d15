"""``python -m tests.robustness KIND --number 2000``: random cases in worker processes.

KIND is ``configs``, ``loaders``, ``damage`` or ``commands``. A worker that does not answer within
``--seconds`` is ended and counts as a fault. The counts, the most memory that a worker took, and
every fault with its seed, go into a JSON file.
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

KINDS: dict[str, Callable[[int], tuple[str, str]]] = {
    "configs": lambda seed: configs.outcome(configs.drawn(seed)),
    "loaders": loaders.outcome,
    "damage": damage.outcome,
    "commands": commands.outcome,
}
DIED = "the process died"


def work(pipe: Connection, kind: str) -> None:
    """Answer seeds with outcomes, and the most MiB so far, until the pipe is closed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    while (seed := pipe.recv()) is not None:
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


def ran(kind: str, first: int, number: int, seconds: float, within: float) -> dict[str, Any]:
    """The counts of so many cases from seed ``first`` on, or of those that fit ``within``."""
    began, longest, worker = time.perf_counter(), 0.0, Worker(kind)
    counts: Counter[str] = Counter()
    faults = []
    for seed in range(first, first + number):
        start = time.perf_counter()
        if start - began > within:
            break
        found, said = worker.ask(seed, seconds)
        longest = max(longest, time.perf_counter() - start)
        counts[found] += 1
        if found == "fault":
            faults.append({"seed": seed, "said": said[:600]})
            print(f"{kind}, seed {seed}: {said[:600]}", flush=True)
    worker.end()
    return {
        "cases": counts.total(), "first": first, **{"fault": 0, **counts},
        "seconds": round(time.perf_counter() - began), "longest_seconds": round(longest, 1),
        "most_mib": round(worker.most), "faults": faults,
    }  # fmt: skip


def main(words: list[str]) -> None:
    """Run the cases and write the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=60.0, help="most that a case may take")
    parser.add_argument("--within", type=float, default=1e9, help="stop after these seconds")
    parser.add_argument("--out", type=Path, help="outputs/robustness/KIND.json by default")
    asked = parser.parse_args(words)
    content = ran(asked.kind, asked.first, asked.number, asked.seconds, asked.within)
    out = asked.out or Path("outputs/robustness") / f"{asked.kind}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=1) + "\n")
    print({k: v for k, v in content.items() if k != "faults"})
