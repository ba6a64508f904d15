"""The front page's plot for dark pages, from its table: ``python benchmarks/dark.py``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from sde_diffusion.report.comparison import Comparison
from sde_diffusion.report.plots import fd_vs_nfe
from sde_diffusion.report.style import Plot
from sde_diffusion.system.storage import write_atomically

HERE = Path(__file__).resolve().parent


def plot(name: str) -> Plot:
    """The plot of ``NAME.csv``, which has all that is drawn."""
    with (HERE / f"{name}.csv").open(newline="") as file:
        rows = [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]
    metric = f"FD[{rows[0]['extractor']}]"
    return fd_vs_nfe(Comparison(rows, rows, [], {}, {}, {"metric": metric}))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text or None


def main(name: str = "fd_vs_nfe") -> None:
    """Write ``NAME-dark.png``."""
    small = io.BytesIO()
    image = Image.open(io.BytesIO(plot(name).dark)).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    write_atomically(HERE / f"{name}-dark.png", small.getvalue())


if __name__ == "__main__":
    main()
