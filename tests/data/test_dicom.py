"""DICOM: windows, slopes and both kinds of grey, as pydicom itself writes them."""

from __future__ import annotations

import io
import zipfile
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


def test_padding_is_neither_black_nor_white_and_a_curve_is_followed() -> None:
    """Both were passed over: padding took the whole range, a curve was drawn as a line."""
    padded = np.where(STORED < 160, 9, STORED + 500).astype(np.uint16)
    read = dicom(written(padded, PixelPaddingValue=9))
    assert "660 .. 1508" in read.notes[0]
    assert int(read.levels.max()) == 65535
    window = {"WindowCenter": "500", "WindowWidth": "400", "VOILUTFunction": "SIGMOID"}
    expected = 65535 / (1 + np.exp(-4 * (STORED.astype(float) - 500) / 400))
    assert np.allclose(dicom(written(**window)).levels[0].numpy(), expected, atol=0.6)
    with pytest.raises(ValueError, match="a table, or are not finite; export a PNG"):
        dicom(written(RescaleSlope="1e308", RescaleIntercept="0"))


def test_scans_are_told_by_content_at_any_depth_and_in_zips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As scanners name them, IM0001; what is passed over is said."""
    (tmp_path / "in" / "s").mkdir(parents=True)
    for name in ("IM0001", "s/b.DCM", "c.ima"):
        (tmp_path / "in" / name).write_bytes(written())
    for name in ("DICOMDIR", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(written())
    assert sorted(photos(str(tmp_path / "in"), "image", 1)) == ["IM0001", "c", "s-b"]
    assert "2 other files skipped: 1 .txt, 1 without an ending" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.dcm", written())
    assert list(photos(str(tmp_path / "a.zip"), "image", 1)) == ["a"]
    (tmp_path / "bare.dcm").write_bytes(written()[132:])
    with refused(f"image={tmp_path / 'bare.dcm'}", "lacks; export it anew"):
        photos(str(tmp_path / "bare.dcm"), "image", 1)
