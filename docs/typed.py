"""Types every block of a page, in order, in a folder of its own: ``python docs/typed.py PAGE...``.

A page is a script: its bash blocks are run by bash, its python blocks in one namespace, with the
commands of this very environment first on the PATH. With ``--store`` the text block behind a block
becomes what it printed. Without pages all tutorials are typed, and the log is kept on their index.

A comment before a block changes how it is typed, ``<!-- small: steps=20 -->`` with further words on
each of its commands, where a run takes hours; ``<!-- not typed: REASON -->`` leaves it out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sde_diffusion.system.provenance import machine, revision

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(
    r"(?:<!-- (?P<how>small|not typed): (?P<what>[^\n]*) -->\n)?"
    r"^```(?P<kind>bash|python)\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
LOG = re.compile(r"(<!-- log of all pages -->\n```text\n).*?(^```\n)", re.DOTALL | re.MULTILINE)
MOST_LINES = 30  # of an output that is stored


def typed(code: str, kind: str, names: dict[str, Any]) -> str:
    """What a block prints; a fault ends the page."""
    if kind == "python":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "page", "exec"), names)
        return printed.getvalue()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"exit status {done.returncode} of:\n{code}{done.stdout}")
    return done.stdout


def smaller(code: str, words: str) -> str:
    """The block with ``words`` on each command of this package."""
    return re.sub(r"^(sde-diffusion [^\n]*)$", rf"\1 {words}", code, flags=re.MULTILINE)


def shown(printed: str, folder: str) -> str:
    """What is stored: no folder of this machine, not more lines than a reader takes in."""
    kept = re.sub(r"(,| {2,}) *[\d.]+ s\b", "", printed.replace(f"{folder}/", ""))  # a machine's
    lines = kept.strip("\n").splitlines()
    more = len(lines) - MOST_LINES
    return "\n".join([*lines[:MOST_LINES], *([f"... and {more} lines more"] if more > 0 else [])])


def page(path: Path, store: bool) -> float:
    """Type the blocks of a page; the seconds that they took."""
    text, names, began = path.read_text(), {"__name__": "page"}, time.perf_counter()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)

        def block(found: re.Match[str]) -> str:
            if found["how"] == "not typed":
                return found[0]
            code = found["code"]
            code = smaller(code, found["what"]) if found["how"] == "small" else code
            printed = shown(typed(code, found["kind"], names), os.path.realpath(folder))
            if found["output"] is None:
                return found[0]
            head = found[0].partition("\n```text\n")[0]
            return f"{head}\n```text\n{printed}\n```\n"

        try:
            text = BLOCK.sub(block, text)
        finally:
            os.chdir(home)
    if store:
        path.write_text(text)
    return time.perf_counter() - began


def main() -> None:
    """Type the pages that are named, or all tutorials."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--store", action="store_true", help="keep what the blocks print")
    given = parser.parse_args()
    index = HERE / "tutorials" / "index.md"
    every = [path for path in sorted((HERE / "tutorials").glob("*.md")) if path != index]
    lines = []
    for path in given.pages or every:
        seconds = page(path.resolve(), given.store)
        lines.append(f"{path.stem}: exit status 0, {seconds:.0f} s")
        print(lines[-1], flush=True)
    if given.store and not given.pages:
        made = f"{machine()['date'][:10]}, revision {revision()}"
        log = "\n".join([made, *lines, ""])
        index.write_text(LOG.sub(lambda found: found[1] + log + found[2], index.read_text()))


if __name__ == "__main__":
    main()
