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
SIGMOID, WINDOW = "SIGMOID", "its window"


def is_dicom(content: bytes) -> bool:
    """Whether a file's content says that it is DICOM."""
    return content[AT : AT + len(MAGIC)] == MAGIC


def dicom(content: bytes) -> Photo:
    """The one grey picture in a DICOM file; ValueError, in words, for what is none.

    Black and white are the ends of its first window (centre c, width w: c - w / 2 .. c + w / 2,
    after slope and intercept), or where it has none the least and the largest value, padding aside.
    Under a window's function SIGMOID a grey is 1 / (1 + exp(-4 (x - c) / w)). A note says which.
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
    with np.errstate(all="ignore"):
        values = stored * (1.0 if slope is None else slope) + (intercept or 0.0)
    if file.get("ModalityLUTSequence") or not bool(np.isfinite(values).all()):
        raise ValueError("DICOM whose values go through a table, or are not finite; export a PNG")
    low, high, note = _window(file, values, stored)
    levels = (values - low) / (high - low)
    if str(file.get("VOILUTFunction", "")) == SIGMOID and note.startswith(WINDOW):
        levels = 1 / (1 + np.exp(-4 * (levels - 0.5)))
    levels = np.clip(levels, 0, 1)
    levels = np.rint((1 - levels if kind == GREYS[0] else levels) * WHITE_16).astype(np.int32)
    return Photo(torch.from_numpy(levels)[None], WHITE_16, (note,))


def _window(file: Any, values: np.ndarray, stored: np.ndarray) -> tuple[float, float, str]:
    """What is black, what is white, and whence."""
    centre, width = (_first(file.get(word)) for word in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 0:
        low, high = centre - width / 2, centre + width / 2
        return low, high, f"{WINDOW}, {low:g} .. {high:g}, is black .. white"
    if file.get("VOILUTSequence"):
        raise ValueError("DICOM whose greys stand in a table in place of a window; export a PNG")
    padding, to = (_first(file.get(f"PixelPadding{word}")) for word in ("Value", "RangeLimit"))
    seen = values
    if padding is not None:
        ends = sorted((padding, padding if to is None else to))
        seen = values[(stored < ends[0]) | (stored > ends[1])]
    if not seen.size or not seen.min() < seen.max():
        raise ValueError("DICOM of one value everywhere; give a picture")
    low, high = float(seen.min()), float(seen.max())
    return low, high, f"no window: its values, {low:g} .. {high:g}, are black .. white"


def _first(value: Any) -> float | None:
    """A number, or the first of several."""
    if value is None or value == "":
        return None
    several = getattr(value, "__iter__", None) is not None and not isinstance(value, str)
    return float(next(iter(value)) if several else value)
