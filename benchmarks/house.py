"""The house in figures, before and after: ``python benchmarks/house.py [--before REVISION]``.

Code lines are lines with code on them: no blanks, comments or docstrings. Everything is read from
the source of a revision and of this tree by ``ast`` and ``tokenize``; nothing is imported.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import tarfile
import tempfile
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import page
import render

PACKAGE = "sde_diffusion"
ROOT = page.HERE.parent
LISTED = 12
LONG, WIDE, POSITIONAL = 30, 6, 3
Function = ast.FunctionDef | ast.AsyncFunctionDef
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
           tokenize.ENCODING, tokenize.ENDMARKER}  # fmt: skip


@dataclass
class House:
    """What was counted.

    Attributes:
        code: code lines by folder of the package; files: by folder. lines: code lines by file.
        lengths: code lines of the body by function, "file:name:line"; widths: parameters.
        positional: calls of the package's own functions with more than three positions.
        arrows: (folder, folder) that one imports from the other. names: files by class name.
    """

    code: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    lines: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    positional: int = 0
    arrows: set[tuple[str, str]] = field(default_factory=set)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    overruled: int = 0


def code_lines(source: str, tree: ast.AST) -> set[int]:
    """Numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SKIPPED:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node):
            text = node.body[0]
            lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines


def imported(tree: ast.AST) -> Iterator[str]:
    """First-level rooms of the package that a file imports."""
    for node in ast.walk(tree):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            head, *rest = module.split(".")
            if head == PACKAGE and rest:
                yield rest[0]


def width(function: Function) -> int:
    """Parameters, without self and cls."""
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def count(root: Path) -> House:
    """Read every file of the package below ``root``."""
    house, trees = House(), {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        source = path.read_text()
        trees[path] = tree = ast.parse(source)
        place = path.relative_to(root / PACKAGE)
        room = place.parts[0] if len(place.parts) > 1 else "top level"
        lines = code_lines(source, tree)
        house.code[room] += len(lines)
        house.files[room] += 1
        house.lines[str(place)] = len(lines)
        house.overruled += source.count("# fmt: skip")
        house.arrows |= {(room, other) for other in imported(tree) if other != room}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                house.names[node.name].append(str(place))
            if isinstance(node, Function):
                body = set(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1))
                house.lengths[f"{place}:{node.name}:{node.lineno}"] = len(lines & body)
                house.widths[f"{place}:{node.name}:{node.lineno}"] = width(node)
    known = {name.split(":")[1] for name in house.widths} | set(house.names)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) > POSITIONAL:
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                house.positional += called in known
    return house


def at(revision: str) -> House:
    """The package at a git revision."""
    command = ["git", "archive", revision, PACKAGE]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        return count(Path(folder))


def solver_lines(house: House) -> dict[str, int]:
    """Code lines of the file of each solver that a yaml of this tree names, by its class."""
    yamls = sorted((ROOT / "conf" / "solver").glob("*.yaml"))
    found = {}
    for target in re.findall(r"_target_: (\S+)", "\n".join(path.read_text() for path in yamls)):
        name = target.rpartition(".")[2]
        for place in house.names.get(name, [])[:1]:
            found[name] = house.lines[place]
    return found


def figures(house: House) -> dict[str, int]:
    """The counts that the design sets goals for."""
    lengths = house.lengths.values()
    runs = [n for name, n in house.lengths.items() if name.split(":")[1] == "run"]
    twice = [name for name, places in house.names.items() if len(places) > 1]
    return {
        "code lines": sum(house.code.values()),
        "files": sum(house.files.values()),
        "functions": len(lengths),
        f"functions over {LONG} lines": sum(n > LONG for n in lengths),
        "functions over 45 lines": sum(n > 45 for n in lengths),
        "longest `run` of a task": max(runs, default=0),
        f"signatures over {WIDE} parameters": sum(n > WIDE for n in house.widths.values()),
        f"calls with over {POSITIONAL} positions": house.positional,
        "rooms": len(house.code),
        "imports between rooms": len(house.arrows),
        "class names that stand twice": len(twice),
        "`# fmt: skip`": house.overruled,
    }


def main() -> None:
    """Count both and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default="7a19cb7", help="git revision to compare with")
    before = at(asked := parser.parse_args().before)
    now = count(ROOT)
    old, new = figures(before), figures(now)
    was, are = solver_lines(before), solver_lines(now)
    both = sorted(was.keys() & are.keys())
    for found, lines in ((old, was), (new, are)):
        found["code lines of a solver file, median"] = round(median(lines[k] for k in both))
    more = sorted(are[name] - was[name] for name in both)
    rows = [[name, str(old[name]), str(new[name])] for name in new]
    rooms = sorted(now.code, key=lambda room: -now.code[room])
    folders = [[room, str(now.files[room]), str(now.code[room])] for room in rooms]
    longest = sorted(now.lengths.items(), key=lambda item: -item[1])[:LISTED]
    long = [[name.rpartition(":")[0].replace(":", " `") + "`", str(n)] for name, n in longest]
    text = [
        "Code lines hold code: no blanks, comments or docstrings. A room is a folder of the "
        "package, or its top level. The length of a function is that of its body.",
        render.markdown(["figure", asked, "now"], rows),
        f"Of the {len(both)} solvers of both, the median file has {median(more):+g} code lines; "
        f"{sum(n > 0 for n in more)} have grown, one by {more[-1]}, and one has lost {-more[0]}.",
        "## Rooms",
        render.markdown(["room", "files", "code lines"], folders),
        "## Longest functions",
        render.markdown(["function", "code lines"], long),
    ]
    page.plain("house", "The house in figures", text)


if __name__ == "__main__":
    main()
