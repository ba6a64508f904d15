"""``python -m tests.mutants --most 12 --out mutants.json``: which bugs the quick suite misses."""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from pathlib import Path

# Forks share what is loaded: the heavy libraries, once.
import pytest  # noqa: F401
import scipy.integrate
import scipy.stats  # noqa: F401
import torch
import torchsde  # noqa: F401

import sde_diffusion.closed_form
import sde_diffusion.reverse  # noqa: F401
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.harness import SURVIVED, judge
from tests.mutants.operators import mutants, spread
from tests.mutants.suite import SOLVERS, warm


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
    stems = asked.files or sorted(p.stem for p in SOLVERS.glob("*.py"))
    warm(stems)
    records: list[dict[str, object]] = []
    sources: list[str] = []
    for stem in stems:
        source = (SOLVERS / f"{stem}.py").read_text()
        every = mutants(source)
        if not every:
            continue
        records.append({"file": stem, "operator": "none"})
        sources.append(source)
        for mutant in spread(every, asked.most) if asked.most else every:
            key = (stem, mutant.before, mutant.after)
            records.append(
                {"file": stem, "of": len(every), "line": mutant.line, "operator": mutant.operator,
                 "before": mutant.before, "after": mutant.after,
                 "equivalent": EQUIVALENT.get(key, "")}
            )  # fmt: skip
            sources.append(mutant.source)
    gc.freeze()  # a fork that collects garbage would copy every page
    work = [(str(r["file"]), source) for r, source in zip(records, sources, strict=True)]
    for index, verdict in judge(work, asked.limit, asked.jobs):
        record = records[index]
        record |= {"outcome": verdict.outcome, "by": verdict.check,
                   "seconds": round(verdict.seconds, 2)}  # fmt: skip
        wrong = (verdict.outcome == SURVIVED) != (record["operator"] == "none")
        if wrong:
            print(json.dumps(record, indent=None), flush=True)
    seconds = time.perf_counter() - begin
    bugs = [r for r in records if r["operator"] != "none"]
    missed = [r for r in bugs if r["outcome"] == SURVIVED]
    unexplained = [r for r in missed if not r["equivalent"]]
    print(
        f"{len(bugs)} mutants of {len(stems)} files: {len(bugs) - len(missed)} caught, "
        f"{len(missed)} survived, {len(unexplained)} of them not known to be equivalent; "
        f"{seconds:.0f} s"
    )
    if asked.out:
        asked.out.write_text(json.dumps({"seconds": seconds, "mutants": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
