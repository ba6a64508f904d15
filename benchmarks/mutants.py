"""Which bugs do the tests of the solvers see, and how often do they cry wolf?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import page
import render

from sde_diffusion.system.provenance import machine

ROOT = page.HERE.parent
FOLDER = ROOT / "outputs" / "benchmark-mutants"
SEEDS, MOST = 200, 12
Record = dict[str, Any]

WHY = ["file", "line", "change", "why nothing can tell"]


def command(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", module, *words]


def measured(name: str, module: str, *words: str) -> dict[str, Any]:
    """What the module found, kept in ``outputs``: only what is not there is run."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([*command(module, *words), "--out", str(path)], cwd=ROOT, check=True)
        found = json.loads(path.read_text())
        path.write_text(json.dumps({**found, "cores": os.cpu_count(), "facts": machine()}))
    return json.loads(path.read_text())


def by(records: list[Record], key: str) -> list[list[str]]:
    """Mutants, caught, hanging, the same solver, and missed, for each value of ``key``."""
    rows = []
    for value in sorted({r[key] for r in records}):
        group = [r for r in records if r[key] == value]
        outcomes = Counter(r["outcome"] for r in group)
        same = sum(r["outcome"] == "survived" and bool(r["equivalent"]) for r in group)
        rows.append(
            [value, str(len(group)), str(outcomes["caught"]), str(outcomes["hangs"]), str(same),
             str(outcomes["survived"] - same)]
        )  # fmt: skip
    return rows


def code(text: str) -> str:
    """Code in a cell of a table."""
    return "`" + text.replace("|", "\\|") + "`"


def change(record: Record) -> str:
    """The part of the statement that differs, with a few characters around it."""
    a, b = record["before"], record["after"]
    start = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    end = next((k for k, (x, y) in enumerate(zip(a[::-1], b[::-1], strict=False)) if x != y), 0)
    end = min(end, len(a) - start, len(b) - start)
    start, end = max(0, start - 24), max(0, end - 16)
    return f"{code(a[start : len(a) - end])} to {code(b[start : len(b) - end])}"


def checks(records: list[Record]) -> str:
    """Which check saw how many first."""
    caught = [r for r in records if r["outcome"] == "caught"]
    names = Counter(r["check"].split(" ")[0] for r in caught)
    return ", ".join(f"`{name}` {count}" for name, count in names.most_common())


def main() -> None:
    """Write mutants.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=MOST, help="mutants a file; 0 for every one")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds of each check that draws")
    asked = parser.parse_args()
    found = measured("mutants", "tests.mutants", "--most", str(asked.most))
    wolf = measured("alarms", "tests.mutants.alarms", "--seeds", str(asked.seeds))
    records, clean = found["mutants"], found["clean"]
    every = sum({r["file"]: r["of"] for r in records}.values())
    survived = [r for r in records if r["outcome"] == "survived"]
    missed = [r for r in survived if not r["equivalent"]]
    seen = len(records) - len(survived)
    real = len(records) - len(survived) + len(missed)
    head = ["mutants", "caught", "never end", "same solver", "missed"]
    reasons = [
        [r["file"], str(r["line"]), change(r), r["equivalent"] or "**missed**"] for r in survived
    ]
    alarms = [
        [name, str(wolf["seeds"]), str(count)] for name, count in sorted(wolf["alarms"].items())
    ]
    values = {
        "mutants": len(records),
        "every": every,
        "unchanged": len(clean),
        "least": min(Counter(r["file"] for r in records).values()),
        "seen": seen,
        "percent": 100 * seen / len(records),
        "real": real,
        "percent_of_real": 100 * seen / real,
        "seconds": found["seconds"],
        "cores": found["cores"],
        "processor_seconds": sum(r["seconds"] for r in [*records, *clean]),
        "unchanged_survived": sum(r["outcome"] == "survived" for r in clean),
        "operators": render.table(["operator", *head], by(records, "operator")),
        "files": render.table(["file", *head], by(records, "file")),
        "checks": checks(records),
        "survivors": render.table(WHY, reasons) if reasons else "None.",
        "seeds": wolf["seeds"],
        "cries": sum(wolf["alarms"].values()),
        "asked": wolf["seeds"] * len(alarms),
        "alarm_seconds": wolf["seconds"],
        "alarms": render.table(["check", "seeds", "alarms"], alarms),
        "most": asked.most,
        "seed_words": asked.seeds,
    }
    render.page("mutants", values, facts=found["facts"])


if __name__ == "__main__":
    main()
