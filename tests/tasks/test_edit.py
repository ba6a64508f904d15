"""Editing pictures: known pixels stay, files of every depth are read, wrong ones are one line."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.data.photos import masks
from sde_diffusion.errors import InputError
from sde_diffusion.models.sources import open_model
from sde_diffusion.operators import Mask
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.damaged import Damaged
from sde_diffusion.sampling.edit import Editor
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.solvers.posterior.ddrm import DDRM
from sde_diffusion.tasks.drawn_edits import Edits
from tests.conftest import Run

RNG = np.random.default_rng(0)
HOLE = np.zeros((8, 8), np.uint8)
HOLE[2:6, 3:6] = 255


def levels(side: int = 8, white: int = 255, channels: int = 0) -> np.ndarray:
    kind = np.uint16 if white > 255 else np.uint8
    shape = (side, side, channels) if channels else (side, side)
    return RNG.integers(0, white + 1, shape).astype(kind)


def png_of_16_bit_colours(path: Path) -> None:
    """As Pillow cannot write it."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels(8, 65535, 3))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.fixture
def desk(tmp_path: Path, tiny_model: str) -> Path:
    """A folder with pictures, masks and a model of 8 x 8 pixels."""
    Image.fromarray(levels()).save(tmp_path / "a.png")
    Image.fromarray(levels(white=65535)).save(tmp_path / "deep.png")
    Image.fromarray(levels(white=65535)).save(tmp_path / "deep.tif")
    Image.fromarray(levels(channels=3)).save(tmp_path / "colour.jpg")
    Image.fromarray(levels(20)).save(tmp_path / "large.png")
    Image.fromarray(levels(4)).save(tmp_path / "small.png")
    Image.fromarray(levels(20)[:8] // 255 * 255).save(tmp_path / "band.png")
    Image.fromarray(levels(channels=4), "CMYK").save(tmp_path / "ink.tif")
    (tmp_path / "cut.png").write_bytes((tmp_path / "large.png").read_bytes()[:-100])
    (tmp_path / "nothing.png").write_bytes(b"")
    Image.fromarray(HOLE).save(tmp_path / "hole.png")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    png_of_16_bit_colours(tmp_path / "colour16.png")
    alpha = np.stack([0 * HOLE, 0 * HOLE, 0 * HOLE, HOLE], -1)
    Image.fromarray(alpha).save(tmp_path / "clear.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "several").mkdir()
    (tmp_path / "masks").mkdir()
    for name in ("p", "q"):
        Image.fromarray(levels()).save(tmp_path / "several" / f"{name}.png")
    Image.fromarray(HOLE).save(tmp_path / "masks" / "p.png")
    np.save(tmp_path / "nan.npy", np.full((1, 8, 8, 2), np.nan, np.float32))
    np.save(tmp_path / "loud.npy", levels()[None].astype(np.float32))
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    return tmp_path


def edit(cli: Run, words: str, ok: bool = True) -> str:
    base = ["edit", "checkpoint=tiny.safetensors", "nfe=3", "n=3", "hydra.run.dir=out"]
    done = cli(*base, *words.split(), ok=ok)
    return done.stdout if ok else done.stderr


@pytest.mark.parametrize("image", ["a.png", "deep.png", "deep.tif"])
def test_known_pixels_are_those_of_the_file(quick_cli: Run, desk: Path, image: str) -> None:
    edit(quick_cli, f"image={image} mask=hole.png")
    before, stem = np.array(Image.open(desk / image)), Path(image).stem
    for k in (1, 2, 3):
        after = np.array(Image.open(desk / "out" / f"{stem}-{k}.png"))
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        assert (after == before)[HOLE == 0].all()
        assert not (after == before)[HOLE > 0].all()
    with np.load(desk / "out" / f"{stem}.npz") as file:
        assert file["images"].shape == (3, 8, 8, 1)
        assert (file["std"][HOLE == 0] == 0).all()
        assert (file["std"][HOLE > 0] > 0).all()
        assert (file["known"] == (HOLE == 0)).all()
    result = json.loads((desk / "out" / "result.json").read_text())
    (picture,) = result["pictures"].values()
    assert (result["misfit"], picture["drawn_anew"]) == (0.0, pytest.approx((HOLE > 0).mean()))
    assert {"grid.png", f"{stem}-mean.png", f"{stem}-std.png"} <= {
        path.name for path in (desk / "out").iterdir()
    }


def test_a_folder_outpainting_tiles_and_a_truth(quick_cli: Run, desk: Path) -> None:
    edit(quick_cli, "image=several mask=hole.png method=pigdm nfe=4 hydra.run.dir=one")
    assert {"p-1.png", "q-3.png", "q-std.png"} <= {p.name for p in (desk / "one").iterdir()}
    edit(quick_cli, "image=large.png extend=[0,3,0,1] hydra.run.dir=two")
    large = np.array(Image.open(desk / "large.png"))
    drawn = np.array(Image.open(desk / "two" / "large-1.png"))
    assert drawn.shape == (20, 24)
    assert (drawn[:, 1:21] == large).all()
    line = edit(quick_cli, "image=a.png operator=cartesian simulate=true hydra.run.dir=three")
    picture = json.loads((desk / "three" / "result.json").read_text())["pictures"]["a"]
    sheet = np.array(Image.open(desk / "three" / "grid.png"))
    cells = sheet.reshape(8, 24, -1)[:, 0, ::24].reshape(8, -1)  # magnified 24 times
    assert cells.shape[1] == 7 * 9 - 1  # the truth, the least-norm answer, draws, mean, deviations
    assert (cells[:, :8] == np.array(Image.open(desk / "a.png"))).all()
    assert not (cells[:, 9:17] == cells[:, :8]).all()
    assert len(picture["psnr"]["draws"]) == 3
    near = sum(picture["psnr"]["draws"]) / 3
    assert f"1 picture, 3 samples each, PSNR {near:.1f} dB, of their mean" in line
    edit(quick_cli, "image=small.png operator=downsample operator.factor=2 hydra.run.dir=four")
    assert np.array(Image.open(desk / "four" / "small-1.png")).shape == (8, 8)
    edit(quick_cli, "image=a.png mask=hole.png strength=0.3 label=4 n=1 hydra.run.dir=five")
    assert not (desk / "five" / "a-std.png").exists()  # of one sample there is none


def test_of_a_stack_the_first_page_is_taken_and_said(quick_cli: Run, desk: Path) -> None:
    """Of 16 bits too, as scanners write them."""
    pages = [Image.fromarray(levels(white=65535)) for _ in range(2)]
    pages[0].save(desk / "stack.tif", save_all=True, append_images=pages[1:])
    done = quick_cli(
        "edit", "checkpoint=tiny.safetensors", "nfe=3", "n=1", "image=stack.tif", "mask=hole.png"
    )
    assert "image=stack.tif: of several frames, of which the first was taken" in done.stderr


def test_a_zip_of_masks_has_one_for_each_picture(desk: Path) -> None:
    """As a folder has; the first of them is not that of all."""
    with zipfile.ZipFile(desk / "masks.zip", "w") as file:
        for name, mask in (("p", HOLE), ("q", HOLE.T)):
            Image.fromarray(mask).save(desk / f"{name}.png")
            file.write(desk / f"{name}.png", f"{name}.png")
    found = masks(str(desk / "masks.zip"), {"q": None, "p": None}, None, "squash")
    for name, mask in (("p", HOLE), ("q", HOLE.T)):
        drawn = found[name]
        assert drawn is not None
        assert (drawn.numpy() == (mask > 0)).all()
    with pytest.raises(InputError, match="none is called a"):
        masks(str(desk / "masks.zip"), {"a": None}, None, "squash")


def test_a_mask_of_the_models_size_goes_with_any_picture_that_is_fitted(
    quick_cli: Run, desk: Path
) -> None:
    """Where it is of neither size, both would be cropped, and not to the same part."""
    edit(quick_cli, "image=large.png mask=hole.png fit=crop n=1")
    with np.load(desk / "out" / "large.npz") as file:
        assert (file["known"] == (HOLE == 0)).all()


BAD = {
    "": "image: required; give image=",
    "image=nosuch.png mask=hole.png": "image=nosuch.png: no such file",
    "image=a.png": "mask: required",
    "image=a.png mask=nosuch.png": "mask=nosuch.png: no such file",
    "image=large.png mask=hole.png": "mask: 8 x 8 pixels, and the picture has 20 x 20",
    "image=a.png mask=hole.png operator=box": "mask: this operator has no use for it",
    "image=a.png extend=[0,2,0,0] operator=box": "extend: this operator has no use for it",
    "image=a.png mask=white.png": "mask: white everywhere",
    "image=a.png mask=black.png": "mask: black everywhere",
    "image=a.png mask=colour.jpg": "mask=colour.jpg: colour is in colours; save it in grey: white",
    "image=a.png mask=clear.png": "mask=clear.png: clear is transparent in part; save it in grey",
    "image=colour.jpg mask=hole.png": "image=colour.jpg: in colours",
    "image=colour16.png mask=hole.png": "image=colour16.png: colours of 16 bits",
    "image=text.png mask=hole.png": "image=text.png: not an image",
    "image=empty mask=hole.png": "image=empty: no pictures",
    "image=several mask=masks": "mask=masks: none is called q",
    "image=large.png mask=band.png fit=crop": "mask=band.png: 8 x 20 pixels, and large has 20 x 20",
    "image=ink.tif mask=hole.png": "image=ink.tif: in colours",
    "image=cut.png mask=hole.png": "image=cut.png: image file is truncated",
    "image=nothing.png mask=hole.png": "image=nothing.png: an empty file; fetch it",
    "image=loud.npy operator=gaussian_blur": "image: its numbers are",
    "image=a.png mask=hole.png method=": "method=: no choice; give one of daps, ddnm, ddrm",
    "image=a.png mask=hole.png method=null": "method=null: no choice; give one of daps",
    "image=a.png mask=hole.png method=[ddrm,dps]": "method=[ddrm,dps]: several, of which one is",
    "image=a.png mask=hole.png n=0": "n=0: give",
    "image=a.png mask=hole.png strength=1.5": "strength=1.5: give",
    "image=a.png mask=hole.png method=dprm": "method=dprm: no such choice; did you mean ddrm?",
    "image=a.png mask=hole.png solver=unipc": "method: neither",
    "image=a.png mask=hole.png solver.operator.noise=0.3": "solver.operator: edit takes it from",
    "image=a.png mask=hole.png extend=[1,2]": "extend=[1, 2]: give",
    "image=a.png mask=hole.png method=particles": "operator.noise=0.0: particles need noise",
    "image=a.png mask=hole.png label=11": "label=11: give",
    "image=a.png mask=hole.png negative=3": "negative=3: ",
    "image=a.png mask=hole.png method=repaint nfe=7": "nfe=7: RePaint",
    "image=a.png mask=hole.png fit=stretch": "fit=stretch: choose",
    "image=small.png extend=[0,1,0,0]": "image: 1 x 4 x 5, smaller than the model's",
    "image=a.png operator=cartesian": "image: shape (1, 8, 8) is no measurement",
    "image=nan.npy operator=cartesian": "image=nan.npy: holds values that are not finite",
    "image=pickle.npy operator=cartesian": "image=pickle.npy: no array that can be read",
    "image=small.png operator=downsample operator.factor=2 strength=0.5": "strength: the measure",
    "image=a.png operator=quantise simulate=true": "solver=ddrm: needs a linear operator",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_inputs_are_one_line_and_leave_nothing(quick_cli: Run, desk: Path, words: str) -> None:
    before = set(desk.iterdir())
    printed = edit(quick_cli, words, ok=False)
    line = printed.replace("\r", "\n").strip().splitlines()[-1]
    assert line.startswith(f"sde-diffusion: {BAD[words]}"), line
    assert "Traceback" not in printed
    assert set(desk.iterdir()) == before


def test_unfinished_samples_are_gone_on_with(
    quick_cli: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed job has lost the batch that it was at, and ends with the files of one that was
    not killed."""
    words = "image=several mask=hole.png batch_size=2"
    edit(quick_cli, f"{words} hydra.run.dir=whole")
    assert not (desk / "whole" / "parts").exists()
    sample, asked = Sampler.sample, []

    def counted(self: Sampler, request: Request, *run: Any) -> Samples:
        asked.append(tuple(request.seeds))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return sample(self, request, *run)

    monkeypatch.setattr(Sampler, "sample", counted)
    assert "interrupted" in edit(quick_cli, f"{words} hydra.run.dir=killed", ok=False)
    edit(quick_cli, f"{words} hydra.run.dir=killed")
    assert asked == [(0, 1), (2,), (0, 1), (0, 1), (2,)]
    names = {path.name for path in (desk / "whole").iterdir()}
    assert {path.name for path in (desk / "killed").iterdir()} == names
    for name in sorted(names):
        if name.endswith(("png", "npz")):
            assert (desk / "killed" / name).read_bytes() == (desk / "whole" / name).read_bytes()


def test_parts_are_of_what_is_known_and_asked(tiny_model: str) -> None:
    """Another hole, seed or strength is other work."""
    model, image = open_model(tiny_model), torch.zeros(1, 8, 8)
    hole = torch.from_numpy(HOLE > 0)

    def path(anew: torch.Tensor = hole, strength: float = 1.0, **depends: object) -> Path:
        editor = Editor(model.denoiser, Mask(), lambda inner: Sampler.build(
            EDM(), inner, DDRM(Mask()), Karras()))  # fmt: skip
        known = Damaged.of(Mask(), image, model.denoiser.space, anew)
        edits = Edits(Path(), depends, editor, {"a": (known, 255)}, Request([0], 2), strength,
                      Execution())  # fmt: skip
        return edits.parts[0].path

    assert path() == path()
    assert len({path(), path(hole.T), path(seeds=[1])}) == 3
