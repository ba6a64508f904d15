"""``python -m tests.floors > floors.txt``: pyproject.toml's lowest versions, as constraints of pip.

Torch is that of ``constraints.txt``, where its floor lies too: lower versions were not tried.
What the floors themselves depend on is left to pip.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMED = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*(.*)")


def floors(project: str, pinned: str) -> dict[str, str]:
    """The lowest version of each dependency, of the extras too, by name.

    Args:
        project: the text of a pyproject.toml. pinned: of a constraints.txt, which has torch's.
    """
    table = tomllib.loads(project)["project"]
    extras = table.get("optional-dependencies", {}).values()
    found: dict[str, str] = {}
    for line in [*table["dependencies"], *(line for extra in extras for line in extra)]:
        name, bounds = parsed(line)
        lowest = [bound[2:] for bound in bounds if bound.startswith(">=")]
        if len(lowest) != 1 or found.setdefault(name, lowest[0]) != lowest[0]:
            raise ValueError(
                f"pyproject.toml: {line}: give one lower bound >=, the same everywhere"
            )
    torch = re.search(r"^torch==(\S+)$", pinned, re.MULTILINE)
    if torch is None:
        raise ValueError("constraints.txt: give the line torch==VERSION")
    return {**found, "torch": torch[1]}


def parsed(requirement: str) -> tuple[str, list[str]]:
    """A requirement's name and its bounds."""
    found = NAMED.fullmatch(requirement)
    if found is None:
        raise ValueError(f"pyproject.toml: {requirement}: give NAME>=VERSION")
    return found[1], [bound.strip() for bound in found[2].split(",")]


def named() -> dict[str, str]:
    """Those of this package, by name."""
    texts = [(ROOT / name).read_text() for name in ("pyproject.toml", "constraints.txt")]
    return dict(sorted(floors(*texts).items()))


def main() -> None:
    """Print them."""
    for name, version in named().items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
