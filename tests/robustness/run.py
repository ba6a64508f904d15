"""``python -m tests.robustness --configs 5000``: random configs in worker processes.

A worker that does not answer within ``--seconds`` is ended and counts as a fault. The counts, and
every fault with its seed, go into a JSON file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tests.robustness.configs import drawn, outcome


def work(pipe: Connection) -> None:
    """Answer seeds with outcomes until the pipe is closed."""
    torch.set_num_threads(1)
    while (seed := pipe.recv()) is not None:
        pipe.send(outcome(drawn(seed)))


class Worker:
    """A process that outlives what it is asked, or is replaced."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other,), daemon=True)
        self.process.start()

    def ask(self, seed: int, seconds: float) -> tuple[str, str] | None:
        """The outcome; None if none comes in time."""
        self.pipe.send(seed)
        try:
            return self.pipe.recv() if self.pipe.poll(seconds) else None
        except (EOFError, ConnectionError):
            return "fault", "the process died"

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def main(words: list[str]) -> None:
    """Run the configs and write the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--configs", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=60.0, help="most that a config may take")
    parser.add_argument("--within", type=float, default=1e9, help="stop after these seconds")
    parser.add_argument("--out", type=Path, default=Path("outputs/robustness/configs.json"))
    asked = parser.parse_args(words)
    began, longest, worker = time.perf_counter(), 0.0, Worker()
    counts: Counter[str] = Counter()
    faults = []
    for seed in range(asked.first, asked.first + asked.configs):
        if time.perf_counter() - began > asked.within:
            break
        start = time.perf_counter()
        found = worker.ask(seed, asked.seconds)
        longest = max(longest, time.perf_counter() - start)
        kind, said = found or ("fault", f"no answer in {asked.seconds:g} s")
        if found is None or said == "the process died":
            worker.end()
            worker = Worker()
        counts[kind] += 1
        if kind == "fault":
            faults.append({"seed": seed, "said": said[:300]})
            print(f"seed {seed}: {said[:300]}", flush=True)
    worker.end()
    content = {
        "configs": sum(counts.values()), "first": asked.first, **counts,
        "longest_seconds": round(longest, 1), "faults": faults,
    }  # fmt: skip
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(content, indent=1) + "\n")
    print({k: v for k, v in content.items() if k != "faults"})
