"""``python -m tests.mutants --most 12 --out mutants.json``: which bugs the quick suite misses."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import time
from pathlib import Path
from typing import Any

# Forks share what is loaded: the heavy libraries, once.
import pytest  # noqa: F401
import scipy.integrate
import scipy.stats  # noqa: F401
import torch
import torchsde  # noqa: F401

import sde_diffusion.denoisers.closed_form  # noqa: F401
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.harness import SURVIVED, Work, judge
from tests.mutants.operators import mutants, spread
from tests.mutants.suite import FILES, warm


def main() -> None:
    """Judge the mutants of some or all solver files, and the files as they are."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--most", type=int, default=12, help="mutants a file; 0 for every one")
    parser.add_argument("--out", type=Path, help="a JSON file of all verdicts")
    parser.add_argument("--files", nargs="*", help="names without .py; every solver file if none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument("--limit", type=float, default=6.0, help="CPU seconds a check may take")
    asked = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    stems = asked.files or sorted(FILES)
    sources = {stem: FILES[stem].read_text() for stem in stems}
    warm(stems)
    gc.freeze()  # a fork that collects garbage would copy every page
    bugs: list[dict[str, Any]] = []
    work: list[Work] = []
    for stem, source in sources.items():
        every = mutants(source)
        made = {(stem, mutant.before, mutant.after) for mutant in every}
        for key in EQUIVALENT:
            if key[0] == stem and key not in made:
                print(f"equivalent.py names what is made no more: {key}")
        for mutant in spread(every, asked.most) if asked.most else every:
            reason = EQUIVALENT.get((stem, mutant.before, mutant.after), "")
            bugs.append(
                {"file": stem, "of": len(every), "line": mutant.line, "operator": mutant.operator,
                 "before": mutant.before, "after": mutant.after, "equivalent": reason}
            )  # fmt: skip
            work.append(Work(stem, mutant.source))
    record(bugs, work, asked)
    # Every check that caught a mutant must pass on the file as it is.
    by: dict[str, set[str]] = {stem: set() for stem in stems}
    for bug in bugs:
        by[bug["file"]].add(bug["check"])
    clean: list[dict[str, Any]] = [{"file": stem} for stem in stems if by[stem] - {""}]
    record(clean, [Work(c["file"], sources[c["file"]], frozenset(by[c["file"]])) for c in clean],
           asked)  # fmt: skip
    seconds = time.perf_counter() - begin
    missed = [bug for bug in bugs if bug["outcome"] == SURVIVED]
    wrong = [c for c in clean if c["outcome"] != SURVIVED]
    print(
        f"{len(bugs)} mutants of {len(stems)} files: {len(bugs) - len(missed)} caught, "
        f"{len(missed)} survived, {sum(not b['equivalent'] for b in missed)} of them not known to "
        f"be equivalent; {len(wrong)} files as they are fail; {seconds:.0f} s"
    )
    if asked.out:
        found = {"seconds": seconds, "mutants": bugs, "clean": clean}
        asked.out.write_text(json.dumps(found, indent=1) + "\n")


def record(entries: list[dict[str, Any]], work: list[Work], asked: argparse.Namespace) -> None:
    """Add each verdict to its entry; print a bug that is missed, a file as it is that fails."""
    for index, verdict in judge(work, asked.limit, asked.jobs):
        entry = entries[index]
        entry |= dataclasses.asdict(verdict)
        survived, as_it_is = verdict.outcome == SURVIVED, "line" not in entry
        if survived != as_it_is and not entry.get("equivalent"):
            print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main()
