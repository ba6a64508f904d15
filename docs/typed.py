"""Types every block of a page, in order, in a folder of its own: ``python docs/typed.py PAGE...``.

A page is a script: its bash blocks are run by bash, its python blocks in one namespace, with the
commands of this very environment first on the PATH. Without pages, all are typed, in the
environment that README's own commands make in a fresh clone; so are those that are named, with
``--fresh``. With ``--store`` the text block behind a block becomes what it printed, and of pages
typed afresh the log, on the index of the tutorials, has a line.

Comments before a block, which a reader does not see, change how it is typed:
``<!-- small: steps=20 -->`` with further words on each of its commands, where a run would take
long; ``<!-- small: compare nfe=[4] -->`` on those of one task. ``<!-- before: COMMANDS -->`` makes
what the block supposes to be there. ``<!-- not typed: REASON -->`` leaves it out. A folder whose
name has a digest, ``outputs/train-...``, is the newest of these, a second one in a line the one
before.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sde_diffusion.system.provenance import machine, revision

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BLOCK = re.compile(
    r"(?P<marks>(?:<!-- (?:small|not typed|before):.*?-->\n)*)"
    r"^```(?P<kind>bash|python)\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
MARK = re.compile(r"<!-- (small|not typed|before):\s(.*?)\s*-->\n", re.DOTALL)
COMMAND = re.compile(
    r"^(?P<words>(?:[^\n#]*&& )?\S*(?:sde-diffusion|pytest)(?: (?P<task>\w+)\b(?!=))?[^\n#|>]*?)"
    r"(?P<rest>\s+[#|>][^\n]*)?$",
    re.MULTILINE,
)
DIGEST = re.compile(r"outputs/(\w+-)\.\.\.")
OPEN = re.compile(r"^(?=[^\n]*outputs/\w+-\.\.\.)", re.MULTILINE)
INDEX = HERE / "tutorials" / "index.md"
LOG = re.compile(r"(<!-- log of all pages -->\n```text\n)(.*?)(^```\n)", re.DOTALL | re.MULTILINE)
MOST_LINES = 30  # of an output that is stored


def environment(programs: Path) -> dict[str, str]:
    """This process's, with the commands of ``programs`` first and no package from elsewhere."""
    path = f"{programs}:{os.environ['PATH']}"
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "PATH": path}


def typed(code: str, kind: str, names: dict[str, Any]) -> str:
    """What a block prints; a fault ends the page."""
    if kind == "bash":  # what a line leaves open, the lines above it may have made
        return "".join(run(piece) for piece in OPEN.split(code) if piece)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join(map(named, code.split("\n"))), "page", "exec"), names)
    return printed.getvalue()


def run(code: str) -> str:
    """What bash prints."""
    inside = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    code = "\n".join(map(named, code.split("\n")))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], env=inside, stdout=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"exit status {done.returncode} of:\n{code}{done.stdout}")
    return done.stdout


def named(line: str) -> str:
    """A line with the folders that stand there for those that it leaves open."""
    taken: dict[str, Iterator[Path]] = {}

    def folder(found: re.Match[str]) -> str:
        if found[1] not in taken:
            there = Path("outputs").glob(f"{found[1]}*")
            taken[found[1]] = iter(sorted(there, key=lambda path: -path.stat().st_mtime_ns))
        return str(next(taken[found[1]], found[0]))

    return DIGEST.sub(folder, line)


def smaller(code: str, words: str) -> str:
    """The block with ``words`` on each command of this package, or of the task that they name."""
    first, _, others = words.partition(" ")
    only = first if first.isidentifier() else None

    def longer(found: re.Match[str]) -> str:
        if only not in (None, found["task"]):
            return found[0]
        return f"{found['words']} {words if only is None else others}{found['rest'] or ''}"

    return COMMAND.sub(longer, code)


def shown(printed: str, folder: str) -> str:
    """What is stored: no folder of this machine, not more lines than a reader takes in."""
    kept = re.sub(r"(,| {2,}) *[\d.]+ s\b", "", printed.replace(f"{folder}/", ""))  # a machine's
    lines = kept.strip("\n").splitlines()
    more = len(lines) - MOST_LINES
    return "\n".join([*lines[:MOST_LINES], *([f"... and {more} lines more"] if more > 0 else [])])


def page(path: Path, store: bool, folder: Path | None = None) -> None:
    """Type the blocks of a page, in ``folder`` or one of its own."""
    names, home = {"__name__": "page"}, Path.cwd()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(folder or temporary)

        def block(found: re.Match[str]) -> str:
            marks, code = MARK.findall(found["marks"]), found["code"]
            if any(how == "not typed" for how, _ in marks):
                return found[0]
            for how, what in marks:
                if how == "small":
                    code = smaller(code, what)
                else:
                    typed(what, "bash", {})
            printed = shown(typed(code, found["kind"], names), os.path.realpath(temporary))
            if found["output"] is None:
                return found[0]
            head = found[0].partition("\n```text\n")[0]
            return f"{head}\n```text\n{printed}\n```\n"

        try:
            text = BLOCK.sub(block, path.read_text())
        finally:
            os.chdir(home)
    if store:
        path.write_text(text)


def every() -> list[Path]:
    """README, CONTRIBUTING, and the pages of ``docs`` with a block to type."""
    pages = sorted(HERE.glob("*.md")) + sorted(HERE.glob("tutorials/*.md"))
    blocks = {path: list(BLOCK.finditer(path.read_text())) for path in pages}
    open_to = [p for p in pages if any("not typed" not in b["marks"] for b in blocks[p])]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *open_to]


def freshly(path: Path, clone: Path, store: bool) -> None:
    """Type a page in the environment of the clone, which README makes."""
    if path.name == "README.md":
        os.environ.pop("PYTHONPATH", None)  # the environment that it makes has all it needs
        return page(path, store, clone)
    python = clone / ".venv" / "bin" / "python"
    words = [str(HERE / "typed.py"), str(path), *["--store"] * store]
    if path.name == "CONTRIBUTING.md":  # its test types what it says
        words = ["-m", "pytest", "tests/test_contributing.py"]
    programs = environment(python.parent)
    done = subprocess.run(
        [python, *words], cwd=clone, env=programs, stdout=subprocess.PIPE, check=False, text=True
    )
    if done.returncode:
        raise SystemExit(f"{path}: exit status {done.returncode}\n{done.stdout[-2000:]}")
    return None


def logged(lines: dict[str, str], index: Path = INDEX) -> None:
    """Keep a line a page on the index of the tutorials."""
    text = index.read_text()
    before = LOG.search(text)
    kept = dict(line.split(": ", 1) for line in (before[2] if before else "").splitlines())
    log = "".join(f"{name}: {line}\n" for name, line in sorted({**kept, **lines}.items()))
    index.write_text(LOG.sub(lambda found: found[1] + log + found[3], text))


def main() -> None:
    """Type the pages that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--fresh", action="store_true", help="in an environment that README makes")
    parser.add_argument("--store", action="store_true", help="keep what the blocks print")
    given = parser.parse_args()
    pages = [path.resolve() for path in given.pages] or every()
    made = f"{machine()['date'][:10]}, revision {revision()}"
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "checkout" if given.fresh or not given.pages else None
        if clone is not None:
            subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
            pages = [ROOT / "README.md", *(path for path in pages if path.name != "README.md")]
        for path in pages:
            began = time.perf_counter()
            if clone is None:
                page(path, given.store)
            else:
                freshly(path, clone, given.store)
            line = f"exit status 0, {time.perf_counter() - began:.0f} s, {made}"
            print(f"{path.relative_to(ROOT)}: {line}", flush=True)
            if clone is not None and given.store:
                logged({str(path.relative_to(ROOT)): line})


if __name__ == "__main__":
    main()
