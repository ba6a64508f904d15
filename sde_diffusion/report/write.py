"""Writes all files of a comparison and hands them to the tracker."""

from __future__ import annotations

from pathlib import Path

from sde_diffusion.images.sheet import png_bytes
from sde_diffusion.report.comparison import Comparison
from sde_diffusion.report.html import page
from sde_diffusion.report.images import same_seed_rows
from sde_diffusion.report.plots import fd_vs_nfe, fd_vs_samples, fd_vs_seconds
from sde_diffusion.report.tables import columns, csv_bytes, json_bytes, standings, text_table
from sde_diffusion.sampling.film import draw, encode
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker

# A page that is sent around: a film of more bytes stays a file beside it.
MOST_FILM = 3_000_000


def write_report(folder: Path, comparison: Comparison, tracker: Tracker) -> None:
    """results.csv, results.json, three plots, samples.png, trajectory.webp if films were made,
    report.html; prints the table."""
    plots = [draw_plot(comparison) for draw_plot in (fd_vs_nfe, fd_vs_samples, fd_vs_seconds)]
    pictures = {f"{plot.name}.png": plot.png for plot in plots}
    pictures["samples.png"] = png_bytes(same_seed_rows(comparison.shown))
    film, still = b"", b""
    if comparison.films:
        images = next(iter(comparison.films.values())).states.shape[1]
        frames = draw(comparison.films, columns=images)
        film, still = encode(frames), png_bytes(frames[-1])
        pictures["trajectory.webp"] = film
    for name, content in pictures.items():
        write_atomically(folder / name, content)
    write_atomically(folder / "results.csv", csv_bytes(comparison))
    write_atomically(folder / "results.json", json_bytes(comparison))
    inline = (film, still) if 0 < len(film) <= MOST_FILM else None
    write_atomically(folder / "report.html", page(comparison, plots, inline).encode())
    names = columns(comparison)
    tracker.table("results", [{name: row[name] for name in names} for row in comparison.rows])
    tracker.table("points", [{key: row[key] for key in comparison.points[0]}
                             for row in comparison.points])  # fmt: skip
    tracker.table("ranking", standings(comparison))
    for name in pictures:
        tracker.image(name.partition(".")[0], folder / name)
    tracker.page("report", folder / "report.html")
    print(f"\n{text_table(comparison)}\n\nreport: {folder / 'report.html'}")
