"""Writes all files of a comparison and hands them to the tracker."""

from __future__ import annotations

from itertools import chain

from sde_diffusion.images.sheet import png_bytes
from sde_diffusion.report.citations import bibtex
from sde_diffusion.report.comparison import Comparison
from sde_diffusion.report.formats import latex, markdown
from sde_diffusion.report.html import page
from sde_diffusion.report.images import same_seed_rows
from sde_diffusion.report.plots import fd_vs_nfe, fd_vs_samples, fd_vs_seconds
from sde_diffusion.report.tables import columns, content, csv_of, standings
from sde_diffusion.sampling.film import draw, encode
from sde_diffusion.system.notice import optional
from sde_diffusion.system.output import Output

# A page that is sent around: a film of more bytes stays a file beside it.
MOST_FILM = 3_000_000


def write_report(output: Output, comparison: Comparison) -> None:
    """results.csv, results.json, three plots (PNG, SVG, PDF), samples.png, trajectory.webp if films
    were made, report.html.

    The first two are the results. What fails of the rest is left out, with a line.
    """
    output.write("results.csv", csv_of(comparison))
    output.json("results.json", content(comparison))
    names = columns(comparison)
    points = [{key: row[key] for key in comparison.points[0]} for row in comparison.points]
    for name, rows in (
        ("results", [{name: row[name] for name in names} for row in comparison.rows]),
        ("points", points),
        ("ranking", standings(comparison)),
    ):
        output.tracker.table(name, rows)
    with optional("plots and report.html"):
        _draw(output, comparison)


def _draw(output: Output, comparison: Comparison) -> None:
    """The plots, the pictures, and the page that holds them all."""
    plots = [plot(comparison) for plot in (fd_vs_nfe, fd_vs_seconds, fd_vs_samples)]
    pictures = {f"{plot.name}.png": plot.file("png") for plot in plots}
    for plot in plots:
        for kind in ("svg", "pdf"):
            output.write(f"{plot.name}.{kind}", plot.file(kind))
    pictures["samples.png"] = png_bytes(same_seed_rows(comparison.shown))
    inline = None
    if comparison.films:
        images = next(iter(comparison.films.values())).states.shape[1]
        frames = draw(comparison.films, columns=images)
        pictures["trajectory.webp"] = film = encode(frames)
        inline = (film, png_bytes(frames[-1])) if len(film) <= MOST_FILM else None
    for name, picture in pictures.items():
        _write(output, name, picture)
    copies = {
        "LaTeX": latex(comparison),
        "Markdown": markdown(comparison),
        "CSV, all columns": csv_of(comparison),
        "BibTeX": bibtex(chain.from_iterable(comparison.facts.get("papers", {}).values())),
    }
    output.write("report.html", page(comparison, plots, copies, inline))
    output.tracker.page("report", output.folder / "report.html")


def _write(output: Output, name: str, picture: bytes) -> None:
    output.picture(name, lambda: picture)
