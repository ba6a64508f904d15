"""Runs one comparison, keeps its plots, and writes its result page."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import render

from sde_diffusion.config.compose import compose_task
from sde_diffusion.system.provenance import revision
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.tasks import compare

HERE = Path(__file__).resolve().parent
table, number = render.markdown, render.shown


def run(name: str, overrides: list[str], plots: list[str]) -> list[dict[str, Any]]:
    """Run ``sde-diffusion compare`` with ``overrides`` (resuming its cells); keep its plots."""
    folder = HERE.parent / "outputs" / f"benchmark-{name}"
    compare.run(compose_task(["task=compare", *overrides]), folder)
    for plot in plots:
        shutil.copyfile(folder / f"{plot}.png", HERE / f"{name if len(plots) == 1 else plot}.png")
    shutil.copyfile(folder / "results.csv", HERE / f"{name}.csv")
    return results(name)["rows"]


def results(name: str) -> dict[str, Any]:
    """All that the comparison found."""
    folder = HERE.parent / "outputs" / f"benchmark-{name}"
    return json.loads((folder / "results.json").read_text())


def once(folder: Path, name: str, work: Callable[[], Any]) -> Any:
    """``work()`` as JSON, done once for a revision of the source: a killed run goes on."""
    path = folder / f"{name}-{revision()}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(work()).encode())
    return json.loads(path.read_text())


def write(
    name: str, title: str, text: list[str], overrides: list[str], facts: dict[str, Any]
) -> None:
    """Write ``benchmarks/NAME.md``."""
    command = f"python benchmarks/{Path(sys.argv[0]).name}"
    same = shlex.join(["sde-diffusion", "compare", *overrides])
    provenance = [
        f"- command: `{command}` (the same cells: `{same}`)",
        f"- machine: {facts['machine']}",
        f"- date: {facts['date']}, revision: {facts['revision']}",
        f"- model {facts['model']} {facts['model_fingerprint']}, extractor {facts['extractor']} "
        f"{facts['extractor_fingerprint']}, reference {facts['reference']} "
        f"(n = {facts['reference_n']}), seeds {facts['seeds']}",
    ]
    page = [f"# {title}", *text, render.SOURCES, "\n".join(provenance)]
    render.written(name, "\n\n".join(page) + "\n")


def plain(name: str, title: str, text: list[str]) -> None:
    """Write a page that no comparison stands behind."""
    provenance = render.origin({"made": render.made()})
    page = [f"# {title}", *text, render.SOURCES, "\n".join(provenance)]
    render.written(name, "\n\n".join(page) + "\n")


def facts(name: str) -> dict[str, Any]:
    """The provenance block of a finished run."""
    return results(name)["provenance"]
