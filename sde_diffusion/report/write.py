"""Writes all files of a comparison and hands them to the tracker."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sde_diffusion.files import write_atomically
from sde_diffusion.pictures import image_grid, png_bytes
from sde_diffusion.report.html import page
from sde_diffusion.report.images import same_seed_rows
from sde_diffusion.report.plots import fd_vs_nfe, fd_vs_samples
from sde_diffusion.report.tables import COLUMNS, Row, csv_bytes, json_bytes, text_table
from sde_diffusion.tracking import Tracker


def write_report(
    folder: Path,
    rows: Sequence[Row],
    shown: Mapping[tuple[str, str], Tensor],
    provenance: Mapping[str, Any],
    tracker: Tracker,
) -> None:
    """results.csv, results.json, two plots, samples.png, report.html; prints the table.

    Args:
        rows: of all cells. shown: uint8 images [K, C, H, W] of each (solver, NFE), same seeds.
        provenance: what the numbers depend on.
    """
    pictures = {"fd_vs_samples": fd_vs_samples(rows), "fd_vs_nfe": fd_vs_nfe(rows)}
    columns = len(next(iter(shown.values())))
    pictures["samples"] = png_bytes(same_seed_rows(shown))
    strips = [
        {"solver": solver, "nfe": nfe, "uri": _uri(png_bytes(image_grid(images, columns)))}
        for (solver, nfe), images in shown.items()
    ]
    for name, content in pictures.items():
        write_atomically(folder / f"{name}.png", content)
    write_atomically(folder / "results.csv", csv_bytes(rows, provenance))
    write_atomically(folder / "results.json", json_bytes(rows, provenance))
    uris = {name: _uri(content) for name, content in pictures.items()}
    write_atomically(folder / "report.html", page(rows, uris, strips, provenance).encode())
    tracker.table("results", [{name: row[name] for name in COLUMNS} for row in rows])
    for name in pictures:
        tracker.image(name, folder / f"{name}.png")
    print(f"\n{text_table(rows)}\n\nreport: {folder / 'report.html'}")


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
