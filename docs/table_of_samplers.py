"""Writes the tables of docs/samplers.md from what ``sampler=`` takes; no arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sde_diffusion.config import groups, samplers
from sde_diffusion.solvers.base import StepSolver

PAGE = Path(__file__).with_name("samplers.md")
HEAD = ("A1111", "ComfyUI", "k-diffusion", "diffusers")


def tables() -> dict[str, str]:
    """Each table of the page, by its name there."""
    methods, schedules, strangers = samplers.table()
    return {
        "methods": table(
            ("here", *HEAD, "evaluations a step", "noise", "what differs"),
            [[*named(each, "solver"), *facts(each), told(each)] for each in methods],
        ),
        "schedules": table(
            ("here", *HEAD, "what differs"),
            [[*named(each, "grid"), told(each)] for each in schedules],
        ),
        "strangers": table(("name", "what is nearest"), [list(row) for row in strangers.items()]),
    }


def named(part: samplers.NamedPart, group: str) -> list[str]:
    fields = " ".join(f"{group}.{key}={value}".lower() for key, value in part.fields.items())
    here = (
        "the model's" if part.choice is None else f"`{group}={part.choice} {fields}".strip() + "`"
    )
    return [here, *(", ".join(part.names[program]) for program in samplers.PROGRAMS)]


def facts(part: samplers.NamedPart) -> list[str]:
    solver = groups.make("solver", str(part.choice), **part.fields)
    assert isinstance(solver, StepSolver)
    return [str(solver.evaluations), "yes" if solver.stochastic else ""]


def told(part: samplers.NamedPart) -> str:
    return part.differs.format(gap="" if part.gap is None else f"{part.gap:.2g}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(page: str) -> str:
    """The page with its tables as they are now."""
    for name, text in tables().items():
        mark = rf"(<!-- table: {name} -->\n\n).*?(\n\n<!-- end -->)"
        page = re.sub(mark, lambda found, text=text: found[1] + text + found[2], page, flags=re.S)  # type: ignore[misc]
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
