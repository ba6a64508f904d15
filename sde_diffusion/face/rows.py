"""What a call found, as rows that a table, a data frame or a file can be made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.report.formats import in_latex, in_markdown, pipes, tabular
from sde_diffusion.system.storage import csv_text, write_atomically

Row = dict[str, Any]


class Rows(Sequence[Row], ABC):
    """Rows with the same keys, in order: ``result[0]["fd"]``, ``for row in result``."""

    stem = "rows"  # of the files that ``save`` writes

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        return self._rows[at]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    @abstractmethod
    def __repr__(self) -> str: ...

    def to_csv(self, path: str | Path | None = None) -> str:
        """All rows and columns as CSV text, written to ``path`` if given."""
        return written(self._csv(), path)

    def _csv(self) -> str:
        return csv_text(self._rows)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """A table of Markdown, of all columns that have values; written to ``path`` if given."""
        columns, lines = self._table()
        shown = [[in_markdown(cell) for cell in line] for line in lines]
        return written(pipes([in_markdown(name) for name in columns], shown) + "\n", path)

    def to_latex(self, path: str | Path | None = None) -> str:
        """The same as a LaTeX tabular (booktabs)."""
        columns, lines = self._table()
        shown = [[in_latex(cell) for cell in line] for line in lines]
        return written(tabular(columns, shown), path)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and lines of a table."""
        names = [name for name in self._rows[0] if any(row[name] is not None for row in self)]
        return names, [[cell_text(row[name]) for name in names] for row in self]

    def save(self, folder: str | Path) -> Path:
        """Write the rows as .csv, the table as .md, and pictures if there are any, into ``folder``;
        its path."""
        where = values.place("folder", folder)
        for name, content in self._files().items():
            write_atomically(where / name, content)
        return where

    def _files(self) -> dict[str, bytes]:
        """What ``save`` writes, by name."""
        return {
            f"{self.stem}.csv": self.to_csv().encode(),
            f"{self.stem}.md": self.to_markdown().encode(),
        }

    def to_pandas(self) -> Any:
        """All rows and columns as a pandas.DataFrame; InputError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise InputError(
                "to_pandas: pandas is not installed; pip install pandas, or take list(result), "
                "which is rows of plain values"
            ) from None
        return pandas.DataFrame(self._rows)


def cell_text(value: Any) -> str:
    """A value in a table: four digits of a number, nothing where there is none."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return "" if value is None else text


def written(text: str, path: str | Path | None) -> str:
    """``text``, which is also the content of the file ``path`` then, if there is one."""
    if path is not None:
        write_atomically(values.place("path", path), text.encode())
    return text
