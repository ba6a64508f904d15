"""What comes of random configs, command lines, image sets and damaged files?"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import page
import render

sys.path.insert(0, str(page.HERE.parent))
from sde_diffusion.system.provenance import revision
from tests.robustness.run import counted

ROOT = page.HERE.parent
OUTPUTS = ROOT / "outputs" / "benchmark-robustness"
KINDS = {
    "configs": "configs, sampled in Python",
    "commands": "command lines, typed in full",
    "loaders": "image sets, some damaged",
    "damage": "damaged files of this package",
}


def found_of(kind: str, words: list[str]) -> dict[str, Any]:
    """What ``python -m tests.robustness`` finds at this revision; a stopped run goes on."""
    out = OUTPUTS / revision() / f"{kind}.jsonl"
    command = [sys.executable, "-m", "tests.robustness", kind, "--out", str(out), *words]
    subprocess.run(command, cwd=ROOT, check=True)
    return counted(out)


def main() -> None:
    """Run what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=5000)
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--loaders", type=int, default=2000)
    parser.add_argument("--damage", type=int, default=2000)
    parser.add_argument("--within", type=float, default=1e9, help="seconds for each kind")
    asked = parser.parse_args()
    rows, faults, values = [], [], dict[str, Any]()
    for kind, words in KINDS.items():
        number = getattr(asked, kind)
        found = found_of(kind, ["--number", str(number), "--within", str(asked.within)])
        good = found.get("images", 0) + found.get("right", 0)
        rows.append(
            [words, str(found["cases"]), str(good), str(found.get("refused", 0)),
             str(found["fault"]), f"{found['longest_seconds']:.1f}", str(found["most_mib"])]
        )  # fmt: skip
        faults += [
            [kind, str(each["seed"]), f"`{each['said'].replace('|', '/').replace('`', '')[:300]}`"]
            for each in found["faults"]
        ]
        values[kind] = {"cases": found["cases"], "asked": number, "faults": found["fault"]}
    head = ["cases", "number", "right", "refused in one line", "faults", "longest, s", "most MiB"]
    of_each = ["kind", "seed", "what came of it"]
    tables = {
        "counts": render.table(head, rows),
        "faults": render.table(of_each, faults or [["none", "-", "-"]]),
    }
    render.page("robustness", {**values, **tables})


if __name__ == "__main__":
    main()
