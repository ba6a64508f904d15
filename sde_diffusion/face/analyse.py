"""Which solver on which grid suits some data, exactly and with no network, from Python."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sde_diffusion.config import groups, yaml_files
from sde_diffusion.config.choices import choice
from sde_diffusion.config.options import Options
from sde_diffusion.data import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.keywords import keywords
from sde_diffusion.face.pictures import image_set
from sde_diffusion.face.rows import Row, Rows, written
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.sde import SDE
from sde_diffusion.process.spectrum import DataSpectrum
from sde_diffusion.report.exact import best, markdown_table, panels, table, text_table, unique
from sde_diffusion.report.html import uri
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.tasks.analyse.pairs import pairs
from sde_diffusion.tasks.analyse.spectra import MODES
from sde_diffusion.tasks.analyse.task import measure, reached, spectrum_of


@final
class Analysis(Rows):
    """One row a solver, grid and NFE: ``error`` is the relative Wasserstein-2 error of the law.

    Attributes:
        spectrum: of the data, for ``Searched(spectrum=...)``.
    """

    stem = "analyse"

    def __init__(self, rows: list[Row], spectrum: DataSpectrum) -> None:
        super().__init__(rows)
        self.spectrum = spectrum

    @property
    def best(self) -> dict[int, Row]:
        """The row of least error at each NFE."""
        return best(self)

    @property
    def title(self) -> str:
        """What the numbers are."""
        return f"Relative W2 error on the Gaussian of {self.spectrum.name}"

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Solvers on grids against NFE as a table of Markdown, written to ``path`` if given."""
        return written(markdown_table(self), path)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        return table(self)

    def _files(self) -> dict[str, bytes]:
        return {**super()._files(), f"{self.stem}.png": self.picture()}

    def picture(self) -> bytes:
        """Error against NFE, a panel a grid, as the content of a PNG file."""
        grids = {grid: [r for r in self if r["grid"] == grid] for grid in unique(self, "grid")}
        return panels(grids, "solver", self.title)

    def __str__(self) -> str:
        return f"{self.title}, each solver on its best grid; * the best\n{text_table(self)}"

    def __repr__(self) -> str:
        solvers, grids = len(unique(self, "solver")), len(unique(self, "grid"))
        return f"Analysis({self.spectrum}, {solvers} solvers, {grids} grids: {len(self)} rows)"

    def _repr_html_(self) -> str:
        return (
            f"<div><pre>{html.escape(str(self))}</pre>"
            f'<img src="{uri(self.picture())}" alt="error against NFE" style="max-width: 100%">'
            "</div>"
        )


@keywords("sde")
def analyse(
    data: Any,
    nfe: Any = (4, 5, 6, 8, 10, 15, 20),
    *,
    solvers: Any = None,
    grids: Any = None,
    modes: str = "pca",
    sde: Any = "edm",
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    progress: bool = False,
    **options: Any,
) -> Analysis:
    """The error of every solver on every grid for the Gaussian with the moments of ``data``.

    Args:
        data: samples, a tensor or array of images [N, C, H, W] (uint8, or floats in -1 .. 1) or
            vectors [N, d], a folder, .zip or .npz, a data set by name or as an object, or a
            ``DataSpectrum``.
        nfe: numbers of network evaluations a sample.
        solvers, grids: lists of objects or names, as for ``compare``; ``"default"`` is each
            solver's own grid. None: the usual ones.
        modes: ``"pca"``, or ``"dct"``, cosine modes, for images of more than 4096 pixels.
        sde: the process, an object or its name. sigma_min, sigma_max: ends of all grids.
        progress: draw a bar.
        options: fields of the process by name: ``sde__beta_max=18``.
    """
    process: SDE = Options.of(options, ("sde",)).one("sde", sde)
    low, high = values.number("sigma_min", sigma_min), values.number("sigma_max", sigma_max)
    usual = yaml_files.load(Path(groups.conf_dir()) / "task" / "analyse.yaml")
    budgets, kind = values.several("nfe", nfe, 1), choice("modes", str(modes), MODES)
    chosen = pairs(
        process,
        values.listed("solvers", usual["solvers"] if solvers is None else solvers),
        values.listed("grids", usual["grids"] if grids is None else grids),
        reached(process, low, high),
    )
    bar = values.truth("progress", progress)
    spectrum = data if isinstance(data, DataSpectrum) else spectrum_of(_rows(data), kind)
    rows = measure([pair.on(spectrum, None) for pair in chosen], budgets, process, spectrum, bar)
    return Analysis(rows, spectrum)


def _rows(data: Any) -> ImageSet:
    """Images, or vectors, of whatever was given; InputError for too few."""
    if isinstance(data, Samples):
        data.check()
        return ImageSet(data.x.float(), None, 0, "samples")
    if isinstance(data, ImageSet):
        return data
    if isinstance(data, DataSource):
        return data.read()
    if isinstance(data, OpenedModel):
        raise InputError("data: a model; give what it draws: model.analyse(nfe=[5, 10]), say")
    if isinstance(data, str | Path):
        return image_set("data", data)
    x = values.tensor("data", data, "images [N, C, H, W], vectors [N, d], or their name or path")
    if x.ndim == 2 and x.is_floating_point() and x.numel():
        return ImageSet(_finite(x).float().cpu(), None, 0, "vectors in memory")
    return image_set("data", x)


def _finite(x: Tensor) -> Tensor:
    if not bool(torch.isfinite(x).all()):
        raise InputError("data: has values that are not finite; leave those rows out")
    return x
