"""What comes of random configs, command lines, image sets, damaged files, kills and old versions?

``python benchmarks/robustness.py kills --number 170`` runs the cases of a kind that this revision
has not yet, and writes the page, which keeps the other kinds as they were measured. ``versions``
reads what ``pytest --junitxml`` and ``pip freeze`` of an environment at the floors
(CONTRIBUTING.md) have written to ``versions.xml`` and ``versions.txt`` in
``outputs/benchmark-robustness/REVISION``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import page
import render

sys.path.insert(0, str(page.HERE.parent))
from sde_diffusion.system.provenance import revision
from tests import floors
from tests.robustness import run, run_kills

ROOT = page.HERE.parent
OUTPUTS = ROOT / "outputs" / "benchmark-robustness"
NAMES = {
    "configs": "configs, sampled in Python",
    "commands": "command lines, typed in full",
    "loaders": "image sets, some damaged",
    "damage": "damaged files of this package",
}
WAYS = {
    "kill": "SIGKILL", "terminate": "SIGTERM", "interrupt": "SIGINT (Ctrl-C)", "full": "disk full",
    "read-only": "folder not writable", "removed": "folder removed", "twice": "two at once",
}  # fmt: skip


def main() -> None:
    """Run what is not there yet of one kind, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*NAMES, "kills", "versions"])
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--within", type=float, default=1e9, help="stop after these seconds")
    parser.add_argument("--revision", help="whose cases are all there already")
    asked = parser.parse_args()
    ending = "xml" if asked.kind == "versions" else "jsonl"
    out = OUTPUTS / (asked.revision or revision()) / f"{asked.kind}.{ending}"
    words = ["--number", str(asked.number), "--within", str(asked.within), "--out", str(out)]
    if asked.kind != "versions" and not asked.revision:
        command = [sys.executable, "-m", "tests.robustness", asked.kind, *words]
        subprocess.run(command, cwd=ROOT, check=True)
    path = render.RESULTS / "robustness.json"
    found = json.loads(path.read_text())["values"]["found"]
    found[asked.kind] = {**FOUND[asked.kind](out), **origin(out)}
    if asked.kind != "versions":
        found[asked.kind]["asked"] = asked.number
    values = {"found": found, **tables(found)}
    render.page("robustness", values, sources(found), origin(out))


def origin(out: Path) -> dict[str, str]:
    """When and from which revision the cases of a file are."""
    date = datetime.fromtimestamp(out.stat().st_mtime, UTC).isoformat(timespec="seconds")
    return {"date": date, "revision": out.parent.name}


def killed(out: Path) -> dict[str, Any]:
    """What the disturbed commands of a file came to, by the way of disturbing."""
    cases = run.lines(out).values()
    faults = [{**case, "said": case["fault"]} for case in cases if case["fault"]]
    tasks = len({case["task"] for case in cases})
    ways = run_kills.counted(cases)
    return {"cases": len(cases), "tasks": tasks, "ways": ways, "faults": faults}


def tested(out: Path) -> dict[str, Any]:
    """How many tests of a report of pytest's passed, failed and were left out; with the versions
    that ``pip freeze`` has written beside it."""
    suites = ElementTree.parse(out).getroot().findall("testsuite")
    said = {key: sum(int(suite.get(key, 0)) for suite in suites)
            for key in ("tests", "failures", "errors", "skipped")}  # fmt: skip
    failed = said["failures"] + said["errors"]
    passed = said["tests"] - failed - said["skipped"]
    lines = out.with_suffix(".txt").read_text().splitlines()
    frozen = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    versions = {name: frozen.get(name.lower().replace("_", "-")) for name in floors.named()}
    return {"passed": passed, "failed": failed, "versions": versions, **said}


FOUND = {**dict.fromkeys(NAMES, run.counted), "kills": killed, "versions": tested}


def tables(found: dict[str, Any]) -> dict[str, Any]:
    """The tables of the page."""
    head = ["cases", "number", "right", "refused in one line", "faults", "longest, s", "most MiB",
            "revision"]  # fmt: skip
    rows = [counts(NAMES[kind], found[kind]) for kind in NAMES if kind in found]
    ways = found["kills"]["ways"]
    lowest = found.get("versions", {}).get("versions", {})
    faults = [
        [kind, str(case["seed"]), f"`{case['said'].replace('|', '/').replace('`', '')[:300]}`"]
        for kind in found
        for case in found[kind].get("faults", [])
    ]
    return {
        "counts": render.table(head, rows),
        "kills": render.table(
            ["disturbed by", "cases", "stopped a command", "right", "faults"],
            [[WAYS[way], each["cases"], each["met"], each["cases"] - each["faults"],
              each["faults"]]
             for way, each in ways.items()],
        ),
        "versions": ", ".join(f"{name} {version}" for name, version in lowest.items() if version),
        "signals": sum(ways[way]["met"] for way in ("kill", "terminate", "interrupt")),
        "faults": render.table(
            ["kind", "seed", "what came of it"], faults or [["none", "-", "-"]]
        ),
    }  # fmt: skip


def counts(name: str, found: dict[str, Any]) -> list[Any]:
    """A row: how many cases were right, refused or at fault, and what the worst took."""
    good = found.get("images", 0) + found.get("right", 0)
    longest = f"{found['longest_seconds']:.1f}"
    return [name, found["cases"], good, found.get("refused", 0), found["fault"], longest,
            found["most_mib"], found["revision"]]  # fmt: skip


def sources(found: dict[str, Any]) -> list[str]:
    """Command, date and revision of each kind."""
    said = [
        f"{kind}: `python -m tests.robustness {kind} --number {each['asked']}`, {each['date']}, "
        f"revision {each['revision']}"
        for kind, each in found.items()
        if kind != "versions"
    ]
    if each := found.get("versions"):
        said.append(f"versions: CONTRIBUTING.md, {each['date']}, revision {each['revision']}")
    return said


if __name__ == "__main__":
    main()
