"""Pictures of DICOM files, by pydicom (the extra ``[medical]``): grey of 16 bits."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.images.photo import WHITE_16, Photo

MAGIC, AT = b"DICM", 128  # of a file, after its preamble
GREYS = ("MONOCHROME1", "MONOCHROME2")


def is_dicom(content: bytes) -> bool:
    """Whether a file's content says that it is DICOM."""
    return content[AT : AT + len(MAGIC)] == MAGIC


def dicom(content: bytes) -> Photo:
    """The one grey picture in a DICOM file; ValueError, in words, for what is none.

    Black and white are the ends of its first window (centre c, width w: c - w / 2 .. c + w / 2,
    after slope and intercept), or where it has none the least and the largest value. A note says
    which.
    """
    try:
        pydicom: Any = importlib.import_module("pydicom")
    except ImportError as error:
        raise InputError("image: a DICOM file; pip install 'sde_diffusion[medical]'") from error
    try:
        file = pydicom.dcmread(io.BytesIO(content))
        stored = np.asarray(file.pixel_array, dtype=np.float64)
    except Exception as error:  # damaged files, and codecs that are not installed, raise anything
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"DICOM that cannot be read ({why}); export it uncompressed") from error
    kind = str(file.get("PhotometricInterpretation", ""))
    if kind not in GREYS or stored.ndim != 2:
        raise ValueError(
            f"DICOM of {kind or 'no stated kind'}, {' x '.join(map(str, stored.shape))}; export "
            "one grey slice"
        )
    slope, intercept = (_first(file.get(word)) for word in ("RescaleSlope", "RescaleIntercept"))
    values = stored * (1.0 if slope is None else slope) + (intercept or 0.0)
    low, high, note = _window(file, values)
    levels = np.clip((values - low) / (high - low), 0, 1)
    levels = np.rint((1 - levels if kind == GREYS[0] else levels) * WHITE_16).astype(np.int32)
    return Photo(torch.from_numpy(levels)[None], WHITE_16, (note,))


def _window(file: Any, values: np.ndarray) -> tuple[float, float, str]:
    """What is black, what is white, and whence."""
    centre, width = (_first(file.get(word)) for word in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 0:
        low, high = centre - width / 2, centre + width / 2
        return low, high, f"its window, {low:g} .. {high:g}, is black .. white"
    low, high = float(values.min()), float(values.max())
    if not low < high:
        raise ValueError("DICOM of one value everywhere; give a picture")
    return low, high, f"no window: its values, {low:g} .. {high:g}, are black .. white"


def _first(value: Any) -> float | None:
    """A number, or the first of several."""
    if value is None or value == "":
        return None
    several = getattr(value, "__iter__", None) is not None and not isinstance(value, str)
    return float(next(iter(value)) if several else value)
