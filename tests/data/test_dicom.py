"""DICOM: windows, slopes and both kinds of grey, as pydicom itself writes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sde_diffusion import wrap
from sde_diffusion.data.photos import photos
from sde_diffusion.images.dicom import dicom, is_dicom
from tests.refusals import refused

pydicom = pytest.importorskip("pydicom")
STORED = np.arange(64, dtype=np.uint16).reshape(8, 8) * 16


def written(pixels: np.ndarray = STORED, **fields: Any) -> bytes:
    """A file of one slice."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = pixels.shape[:2]
    file.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelRepresentation, file.PhotometricInterpretation = 0, "MONOCHROME2"
    file.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_black_and_white_are_the_window_or_the_values() -> None:
    content = written()
    assert is_dicom(content)
    x = dicom(content).x
    assert torch.allclose(x[0], torch.linspace(-1, 1, 64).reshape(8, 8), atol=4e-5)
    windowed = written(WindowCenter="-500", WindowWidth="200", RescaleSlope="1",
                       RescaleIntercept="-1000")  # fmt: skip
    values = STORED.astype(float) - 1000
    expected = np.clip((values + 600) / 200, 0, 1) * 2 - 1
    assert np.allclose(dicom(windowed).x[0].numpy(), expected, atol=4e-5)
    negative = dicom(written(PhotometricInterpretation="MONOCHROME1"))
    assert torch.equal(negative.levels, 65535 - dicom(content).levels)
    assert "0 .. 1008" in dicom(content).notes[0]


def test_what_is_no_grey_slice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rgb.dcm").write_bytes(
        written(np.zeros((8, 8, 3), np.uint16), PhotometricInterpretation="RGB",
                PlanarConfiguration=0)
    )  # fmt: skip
    with refused(f"image={tmp_path / 'rgb.dcm'}", "RGB", "grey slice"):
        photos(str(tmp_path / "rgb.dcm"), "image", 1)
    (tmp_path / "cut.dcm").write_bytes(written()[:-40])
    with refused(f"image={tmp_path / 'cut.dcm'}", "cannot be read"):
        photos(str(tmp_path / "cut.dcm"), "image", 1)
    (tmp_path / "flat.dcm").write_bytes(written(np.full((8, 8), 7, np.uint16)))
    with refused(f"image={tmp_path / 'flat.dcm'}", "one value"):
        photos(str(tmp_path / "flat.dcm"), "image", 1)
    with refused(f"image={tmp_path / 'flat.dcm'}", "fit"):
        photos(str(tmp_path / "flat.dcm"), "image", 1, size=8)


def test_a_folder_of_slices_is_edited_and_known_pixels_stay(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(written())
    assert list(photos(str(tmp_path / "in"), "image", 1)) == ["a"]

    def narrow(x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma**2)

    anew = torch.zeros(8, 8, dtype=torch.bool)
    anew[3:5, 2:6] = True
    edited = wrap(narrow, (1, 8, 8)).edit(tmp_path / "in" / "a.dcm", anew, n=2, nfe=4)
    assert edited.white == 65535
    known = dicom(written()).x[:, ~anew]
    assert torch.equal(edited.samples.x[:, :, ~anew], known.expand(2, *known.shape))
