"""``sde-diffusion join FOLDER...``: one table, one page and one ranking over finished jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sde_diffusion.errors import InputError
from sde_diffusion.report import write_report
from sde_diffusion.report.formats import text_table
from sde_diffusion.report.jobs import jobs_page
from sde_diffusion.system.output import FORMAT, Output
from sde_diffusion.tasks.join.comparison import comparison
from sde_diffusion.tasks.join.finished import REMEDY, Finished, finished
from sde_diffusion.tasks.join.table import ranked_by, rows, text
from sde_diffusion.tasks.run import Run


@dataclass
class JoinTask:
    """Keys of the task."""

    folders: list[str] | None

    def __post_init__(self) -> None:
        if not self.folders or not all(self.folders):
            raise InputError(f"folders={self.folders}: {REMEDY}: sde-diffusion join FOLDER FOLDER")

    @property
    def paths(self) -> list[Path]:
        """The folders."""
        return [Path(name) for name in self.folders or []]


def run(config: DictConfig, folder: Path) -> float:
    """Write the report of all jobs into ``folder``; returns the number of jobs."""
    with Run(config, folder, JoinTask) as job:
        jobs = finished(job.task.paths)
        job.begin()
        print(joined(jobs, job.output, job.provenance(None)))
    return float(len(jobs))


def joined(jobs: Sequence[Finished], output: Output, facts: dict[str, Any]) -> str:
    """Write the report of all jobs; what a terminal shows of it.

    Comparisons become one, with ranks; of other tasks there is a table of what came out. Of both
    kinds, or of several tasks, nothing can be said together: InputError.
    """
    if not jobs:
        raise InputError(f"folders: no finished job in them; {REMEDY}")
    if len(tasks := dict.fromkeys(job.task for job in jobs)) > 1:
        raise InputError(f"folders: jobs of {', '.join(tasks)}; join those of one task")
    if jobs[0].compared:
        whole = comparison(jobs, facts)
        write_report(output, whole)
        return f"\n{text_table(whole)}\n\nreport: {output.folder / 'report.html'}"
    lines = rows(jobs)
    key = ranked_by(lines)
    output.table("jobs", lines)
    output.json("results.json", {"format": FORMAT, "provenance": facts, "rows": lines})
    output.write("report.html", jobs_page(jobs[0].task, lines, key, facts))
    by = "in the order of their folders" if key is None else f"smallest {key} first"
    return f"\n{by}\n{text(lines)}\n\nreport: {output.folder / 'report.html'}"
