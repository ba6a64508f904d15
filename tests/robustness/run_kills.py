"""``python -m tests.robustness kills --number 100``: disturbed commands, one after the other.

Each case is a line of a file as soon as it is known, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from tests.robustness.kills import SIGNALS, TASKS, WAYS, Bench, disturbed
from tests.robustness.run import lines, resumed

# Of ten cases six are signals.
ORDER = (*SIGNALS, "full", *SIGNALS, *(way for way in WAYS if way not in (*SIGNALS, "full")))


def cases(number: int) -> list[tuple[int, str, str]]:
    """Seeds, tasks and ways: every way meets every task."""
    tasks = list(TASKS)
    return [(k, tasks[(k + k // 60) % len(tasks)], ORDER[k % len(ORDER)]) for k in range(number)]


def main(words: list[str]) -> None:
    """Run what is not known yet, until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness kills", description=__doc__)
    parser.add_argument("--number", type=int, default=170)
    parser.add_argument("--within", type=float, default=1e9, help="stop after these seconds")
    parser.add_argument("--out", type=Path, default=Path("outputs/robustness/kills.jsonl"))
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    known = resumed(asked.out)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "bench")
        for seed, task, way in cases(asked.number):
            if seed in known or time.monotonic() - began > asked.within:
                continue
            try:
                fault, met = disturbed(bench, task, way, random.Random(f"{seed} {task} {way}"))
            except TimeoutError as error:
                fault, met = str(error), True
            line = {"seed": seed, "task": task, "way": way, "fault": fault, "met": met}
            with open(asked.out, "a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{seed} {task} {way}: {fault or 'right'}", flush=True)
    print(counted(lines(asked.out).values()))


def counted(found: Any) -> dict[str, dict[str, int]]:
    """Cases by the way of disturbing, those kept from their end among them, and faults."""
    listed = list(found)
    ways = Counter(case["way"] for case in listed)
    met = Counter(case["way"] for case in listed if case["met"])
    faults = Counter(case["way"] for case in listed if case["fault"])
    return {
        way: {"cases": ways[way], "met": met[way], "faults": faults[way]}
        for way in WAYS
        if ways[way]
    }
