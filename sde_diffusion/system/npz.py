"""numpy's archives, written piece by piece: an array need not be in memory as a whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np


@dataclass(frozen=True)
class Pieces:
    """An array as pieces along its first axis.

    Attributes:
        shape, dtype: of the whole. pieces: one after the other, of that dtype.
    """

    shape: Sequence[int]
    dtype: np.dtype
    pieces: Iterable[np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> Pieces:
        """An array in one piece."""
        return cls(array.shape, array.dtype, [array])


def write_npz(file: IO[bytes], arrays: Mapping[str, Pieces]) -> None:
    """A compressed archive of these arrays; the same ones give the same bytes.

    ValueError for pieces that are not of the shape that was said.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for name, array in arrays.items():
            header = {
                "descr": np.lib.format.dtype_to_descr(array.dtype),
                "fortran_order": False,
                "shape": tuple(array.shape),
            }
            written = 0
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for piece in array.pieces:
                    member.write(piece.astype(array.dtype, copy=False).tobytes())
                    written += piece.size
            if written != np.prod(array.shape, dtype=np.int64):
                raise ValueError(f"{name}: {written} numbers are no {tuple(array.shape)}")
