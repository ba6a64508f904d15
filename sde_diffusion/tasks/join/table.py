"""A table of jobs that were judged one by one: in what they differ, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sde_diffusion.config.command import value
from sde_diffusion.tasks.join.finished import Finished, differences

# What a job is ranked by, the first that all have, smallest first.
RANKED = ("fd_debiased", "fd", "val/loss", "bits_per_dim", "mean", "largest_error")
# Numbers that are no outcome; the rank is that of a matrix.
PROTOCOL = ("format", "noise_version", "rank", "clipped")


def rows(jobs: Sequence[Finished]) -> list[dict[str, Any]]:
    """One a job, best first where all have a number to rank by: its name, the keys in which the
    jobs differ, and every number of its result."""
    apart = differences(jobs)
    numbers = [_numbers(job.content) for job in jobs]
    names = dict.fromkeys(name for each in numbers for name in each)
    lines = [
        {
            "job": job.name,
            **{key: None if v[k] is None else value(v[k]) for key, v in apart.items()},
            **{name: numbers[k].get(name) for name in names},
        }
        for k, job in enumerate(jobs)
    ]
    key = ranked_by(lines)
    return lines if key is None else sorted(lines, key=lambda row: float(row[key]))


def ranked_by(scored: Sequence[Mapping[str, Any]]) -> str | None:
    """The number that all rows have and are ranked by, if there is one."""
    names = (name for name in RANKED if all(row.get(name) is not None for row in scored))
    return next(names, None)


def _numbers(content: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a result, and those of the last of its rows: at the largest N."""
    last = content.get("rows") or [{}]
    every = {**content, **(last[-1] if isinstance(last[-1], dict) else {})}
    return {
        name: number
        for name, number in every.items()
        if type(number) in (int, float) and name not in PROTOCOL
    }


def text(scored: Sequence[Mapping[str, Any]]) -> str:
    """The table of a terminal."""
    heads = list(scored[0])
    lines = [heads, *([shown(row[name]) for name in heads] for row in scored)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def shown(number: Any) -> str:
    """A cell: a number in four digits, a dash for nothing."""
    return "–" if number is None else f"{number:.4g}" if type(number) is float else str(number)
