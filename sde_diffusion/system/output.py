"""What a job leaves: files in its folder, and the same in its tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, final

import numpy as np

from sde_diffusion.system import strict_json
from sde_diffusion.system.lock import locked
from sde_diffusion.system.notice import optional
from sde_diffusion.system.npz import Pieces, write_npz
from sde_diffusion.system.processes import from_first, rank
from sde_diffusion.system.storage import csv_text, tidy, write_atomically, writing
from sde_diffusion.system.tracking import Tracker

# Of results and arrays: to be raised with any change of what their names mean.
FORMAT = 1


@final
class Output:
    """A folder and a tracker. Files are written whole or not at all.

    A file that is a result raises InputError where it cannot be written; a picture is left out
    with a line. Of several processes rank 0 writes.
    """

    def __init__(self, folder: Path, tracker: Tracker) -> None:
        self.folder, self.tracker = folder, tracker

    @contextmanager
    def held(self, key: str = "hydra.run.dir") -> Iterator[Output]:
        """No other job writes here until the block ends, and the tracker is closed then.

        ``key`` is what a refusal calls the folder.
        """
        with locked(self.folder, key):
            if rank() == 0:
                tidy(self.folder)
            from_first(None)  # before anybody makes a part
            with self.tracker:
                yield self

    def write(self, name: str, content: str | bytes) -> None:
        """A file of that name."""
        if rank() == 0:
            data = content.encode() if isinstance(content, str) else content
            write_atomically(self.folder / name, data)

    def json(self, name: str, content: Any) -> None:
        """A JSON file that every language reads: what is not finite is null."""
        self.write(name, strict_json.dumps(content, indent=2))

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """A compressed npz file, with its ``format``."""
        self.pieces(name, {key: Pieces.of(array) for key, array in arrays.items()})

    def pieces(self, name: str, arrays: Mapping[str, Pieces]) -> None:
        """The same, of arrays that need not be in memory."""
        whole = {"format": Pieces.of(np.array(FORMAT)), **arrays}
        self.stream(name, lambda file: write_npz(file, whole))

    def stream(self, name: str, write: Callable[[IO[bytes]], None]) -> None:
        """A file of that name, as ``write`` writes it."""
        if rank() == 0:
            with writing(self.folder / name) as file:
                write(file)

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """NAME.csv of rows with the same keys, and the table in the tracker."""
        self.write(f"{name}.csv", csv_text(rows))
        self.tracker.table(name, rows)

    def picture(self, name: str, draw: Callable[[], bytes], label: str | None = None) -> None:
        """A picture file with the content that ``draw`` makes; ``label`` names it in the tracker.

        Whatever fails in it is one line, and costs no result.
        """
        with optional(name):
            self.write(name, draw())
            self.tracker.image(label or Path(name).stem, self.folder / name)

    def log(self, metrics: dict[str, float], step: int = 0) -> None:
        """Numbers at a step, in the tracker."""
        self.tracker.log(metrics, step)
