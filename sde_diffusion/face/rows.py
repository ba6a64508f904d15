"""What a call found, as rows that a table, a data frame or a file can be made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.system.storage import csv_text, write_atomically

Row = dict[str, Any]


class Rows(Sequence[Row], ABC):
    """Rows with the same keys, in order: ``result[0]["fd"]``, ``for row in result``."""

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


def written(text: str, path: str | Path | None) -> str:
    """``text``, which is also the content of the file ``path`` then, if there is one."""
    if path is not None:
        write_atomically(values.place("path", path), text.encode())
    return text
