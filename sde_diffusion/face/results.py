"""What a comparison found, for a notebook, a paper or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

from sde_diffusion.face import values
from sde_diffusion.face.rows import Row, Rows, written
from sde_diffusion.report import Comparison, write_report
from sde_diffusion.report.formats import latex, markdown, table_html, text_table
from sde_diffusion.report.html import uri
from sde_diffusion.report.plots import fd_vs_nfe, fd_vs_samples, fd_vs_seconds
from sde_diffusion.report.ranking import Ranking
from sde_diffusion.report.tables import csv_of
from sde_diffusion.system.output import Output
from sde_diffusion.system.tracking import NoTracker

WIDE = "width: 30em; max-width: 100%"


@final
class Results(Rows):
    """The rows of a comparison: one a solver, NFE, number of images and block of seeds.

    ``print`` shows solvers against evaluations; a notebook shows that and the plots.

    Attributes:
        comparison: all of it, with pictures and what the numbers depend on.
    """

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison.rows)
        self.comparison = comparison

    @property
    def points(self) -> Sequence[Row]:
        """One a solver, NFE and number of images, over all blocks of seeds."""
        return self.comparison.points

    @property
    def rankings(self) -> Sequence[Ranking]:
        """One an NFE, at the largest number of images, best first."""
        return self.comparison.rankings

    @property
    def floors(self) -> Sequence[Row]:
        """As many real held-out images, by number; none where the reference holds none out."""
        return list(self.comparison.floors.values())

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Solvers against NFE as a table of Markdown, written to ``path`` if given."""
        return written(markdown(self.comparison), path)

    def to_latex(self, path: str | Path | None = None) -> str:
        """Solvers against NFE as a LaTeX tabular (booktabs), written to ``path`` if given."""
        return written(latex(self.comparison), path)

    def _csv(self) -> str:
        return csv_of(self.comparison)

    def save(self, folder: str | Path) -> Path:
        """Write the whole report, as the command does, into ``folder``; the path of its page."""
        output = Output(values.place("folder", folder), NoTracker())
        with output.held("folder"):
            write_report(output, self.comparison)
        return output.folder / "report.html"

    def __str__(self) -> str:
        return text_table(self.comparison)

    def __repr__(self) -> str:
        whole = self.comparison
        budgets = len({row["nfe"] for row in whole.top})
        return (
            f"Results({whole.metric} of {len(whole.solvers)} solvers at {budgets} NFE, "
            f"N = {whole.largest}: {len(self)} rows)"
        )

    def _repr_html_(self) -> str:
        plots = [plot(self.comparison) for plot in (fd_vs_nfe, fd_vs_samples, fd_vs_seconds)]
        pictures = "".join(
            f'<img src="{uri(plot.file("png"))}" alt="{plot.name}" style="{WIDE}">'
            for plot in plots
        )
        return f"<div>{table_html(self.comparison)}<div>{pictures}</div></div>"
