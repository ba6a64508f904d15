"""Every result page, from ``results/NAME.json``: ``python benchmarks/render.py [NAME ...]``.

A page's words stand in ``text/NAME.md``, or in the JSON itself where a script writes them. In them
``{{ key }}`` is a value of the JSON, ``{{ key.part:.1e }}`` a part of one in Python's format, and a
table where the value is one. No number is typed into a page, and words change without a new run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_diffusion.system.provenance import machine, revision
from sde_diffusion.system.storage import write_atomically

HERE = Path(__file__).resolve().parent
RESULTS, TEXT = HERE / "results", HERE / "text"
HOLE = re.compile(r"\{\{ ([\w.]+)(?::([^}]*))? \}\}")
TABLE = re.compile(r"^\|.*\|\n\|[-| ]+\|(?:\n\|.*\|)*", re.MULTILINE)
Table = dict[str, Any]  # head: words; rows: lists of cells
SOURCES = "## Where the numbers come from"


def page(
    name: str,
    values: Mapping[str, Any],
    sources: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
) -> None:
    """Keep ``values`` in ``results/NAME.json``; write and print the page of ``text/NAME.md``.

    Args:
        values: plain data: numbers, words, ``table``s, mappings of these.
        sources: what the page says of their origin beside command, machine, date and revision.
        facts: machine, date and revision of an earlier run that measured them.
    """
    origin = {**made(), **(facts or {})}
    data = {key: as_data(value) for key, value in values.items()}
    keep(name, {"values": data, "made": origin, "sources": list(sources)})
    print(rendered(name))


def written(name: str, text: str) -> None:
    """The page that a script has worded itself; its tables are kept as data."""
    keep(name, lifted(text))


def keep(name: str, content: Mapping[str, Any]) -> None:
    """Write the JSON, then the page of it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomically(RESULTS / f"{name}.json", (text + "\n").encode())
    write_atomically(HERE / f"{name}.md", rendered(name).encode())


def made() -> dict[str, str]:
    """How, where, when and from which revision."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    facts = machine()
    return {
        "command": f"python benchmarks/{' '.join(words)}", "machine": facts["machine"],
        "date": facts["date"], "revision": revision(),
    }  # fmt: skip


def rendered(name: str) -> str:
    """The page of ``results/NAME.json``."""
    content = json.loads((RESULTS / f"{name}.json").read_text())
    lines = content.get("text") or (TEXT / f"{name}.md").read_text().splitlines()
    text = "\n".join([*lines, ""])
    values = {**content.get("made", {}), **content["values"]}
    text = HOLE.sub(lambda hole: shown(value_of(values, hole[1]), hole[2] or ""), text)
    if SOURCES in text or "made" not in content:
        return text
    return "\n".join([text, SOURCES, "", *origin(content), ""])


def origin(content: Mapping[str, Any]) -> list[str]:
    """The lines on where the numbers come from."""
    facts = content["made"]
    lines = [
        f"command: `{facts['command']}`", f"machine: {facts['machine']}",
        f"date: {facts['date']}, revision: {facts['revision']}", *content.get("sources", ()),
    ]  # fmt: skip
    return [f"- {line}" for line in lines]


def value_of(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; a KeyError names one that is not there."""
    value: Any = values
    for part in path.split("."):
        if part not in value:
            raise KeyError(f"{path}: not a value of this page; it has {sorted(values)}")
        value = value[part]
    return value


def shown(value: Any, spec: str = "") -> str:
    """A value as a page has it: three digits of a float, a dash for nothing, a table."""
    if isinstance(value, Mapping):
        return markdown(value["head"], value["rows"])
    if isinstance(value, str):
        return value
    if value is None:
        return "-"
    if isinstance(value, float) and not spec:
        return f"{value:.3g}"
    return f"{value:{spec}}"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table as data: numbers may stand in it as they are."""
    return {"head": list(head), "rows": [list(row) for row in rows]}


def markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([shown(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def lifted(text: str) -> dict[str, Any]:
    """The content of a page: each table of it as data, ``{{ table_1 }}`` in its place."""
    values: dict[str, Any] = {}

    def lift(found: re.Match[str]) -> str:
        if (data := parsed(found[0])) is None:
            return found[0]
        key = f"table_{len(values) + 1}"
        values[key] = data
        return f"{{{{ {key} }}}}"

    words = TABLE.sub(lift, text)
    return {"text": words.splitlines(), "values": values}


def parsed(text: str) -> Table | None:
    """A Markdown table as data; None if its rows are not of one width."""
    head, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in text.split("\n"))
    return table(head, rows) if all(len(row) == len(head) for row in rows) else None


def as_data(value: Any) -> Any:
    """``value``, but for words that are a table."""
    return parsed(value) or value if isinstance(value, str) and TABLE.fullmatch(value) else value


def names() -> list[str]:
    """Every page."""
    return sorted(path.stem for path in RESULTS.glob("*.json"))


def main() -> None:
    """Render the pages named, or all."""
    for name in sys.argv[1:] or names():
        write_atomically(HERE / f"{name}.md", rendered(name).encode())


if __name__ == "__main__":
    main()
