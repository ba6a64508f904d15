"""Captions of one's own images: three ways to write them, and what does not fit in one line."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sde_diffusion.config.compose import compose_task
from sde_diffusion.data import ImageFolder
from sde_diffusion.errors import InputError
from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.tasks import sample, train

SAID = {"b/one.png": "A red  square,\nlarge", "a/two.png": "a blue dot", "a/three.png": "nothing"}
READ = ("nothing", "a blue dot", "A red square, large")  # in the order of the names


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def files() -> dict[str, bytes]:
    found = {name: png(40 * i) for i, name in enumerate(SAID)}
    found |= {name.replace("png", "txt"): text.encode() for name, text in SAID.items()}
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in SAID.items()]
    found["lines.jsonl"] = "\n".join([*lines, ""]).encode()
    quoted = "".join(f'{name},"{text}"\n' for name, text in SAID.items())
    found["table.csv"] = f"image,caption\n{quoted}".encode("utf-8-sig")
    return found


@pytest.fixture
def folder(tmp_path: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(tmp_path / "data")


@pytest.mark.parametrize("captions", ["txt", "lines.jsonl", "table.csv"])
@pytest.mark.parametrize("packed", ["", ".zip"])
def test_each_image_has_its_own(folder: str, captions: str, packed: str) -> None:
    """Whatever the way; classes stay those of the folders; rows that are chosen keep theirs."""
    data = ImageFolder(folder + packed, captions=captions).load()
    assert data.captions == READ
    assert data.class_names == ("a", "b")
    assert data[1:].captions == READ[1:]
    assert ImageFolder(folder + packed).load().captions == ()


def test_a_table_may_lie_elsewhere_and_know_more_splits(folder: str, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("file_name,text\n" + "".join(f"{n},said of {n}\n" for n in SAID))
    data = ImageFolder(folder, split="b", captions=str(table)).load()
    assert data.captions == ("said of b/one.png",)


def test_an_image_that_is_skipped_takes_its_caption_along(folder: str) -> None:
    Path(folder, "a/three.png").write_bytes(b"torn")
    data = ImageFolder(folder, on_error="skip", captions="txt").load()
    assert data.captions == READ[1:]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("gone.csv", None, "no such file here or among the data; give a .csv"),
        ("comma.csv", "file_name,text\nb/one.png,a square, red\n", "line 2 has more values than"),
        ("open.csv", 'file_name,text\nb/one.png,"a square\na/two.png,a dot\n', "no CSV"),
        ("a.toml", "x", "give a .csv or .jsonl file"),
        ("a.csv", "file_name,words\nb/one.png,a dot\n", r"line 2 has \['file_name', 'words'\]"),
        ("a.csv", "file_name,text\nb/no.png,a dot\n", "line 2 names b/no.png, which is no image"),
        ("a.csv", "file_name,text\nb/one.png,a dot\n", "no caption of a/three.png and 1 more"),
        ("a.csv", "file_name,text\nb/one.png,a\nb/one.png,a\n", "line 3 names b/one.png again"),
        ("a.jsonl", "{", "line 1 is no JSON"),
        ("a.jsonl", "[1]", "line 1 is no JSON object"),
        ("a.jsonl", '{"file_name": "b/one.png", "text": 3}', "line 1: text is of type int"),
        ("a.csv", b"\xff\xfe\x00", "no text in UTF-8"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(
    folder: str, name: str, text: str | bytes | None, says: str
) -> None:
    if text is not None:
        Path(folder, name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"data\.captions={name}: .*{says}") as raised:
        ImageFolder(folder, captions=name).load()
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "a/two.txt is not there; write one"),
        (b"", "the caption of a/two.png has no words"),
        (b"?!", "the caption of a/two.png has no words"),
        (b"word " * 500, "the caption of a/two.png has 500 words; give 200 at most"),
        (b"\xff\xff", "a/two.txt is no text in UTF-8"),
    ],
)
def test_a_text_beside_an_image_that_does_not_fit_is_one_line(
    folder: str, text: bytes | None, says: str
) -> None:
    path = Path(folder, "a/two.txt")
    path.unlink() if text is None else path.write_bytes(text)
    with pytest.raises(InputError, match=rf"data\.captions=txt: .*{says}") as raised:
        ImageFolder(folder, captions="txt").load()
    assert len(str(raised.value).splitlines()) == 1


def test_a_model_is_trained_with_them_and_asked_by_them(folder: str, tmp_path: Path) -> None:
    small = ["widths=[8]", "embedding=8", "text_width=8", "text_depth=1", "head_width=8"]
    train.run(
        compose_task([
            "task=train", "data=folder", f"data.path={folder}", "data.captions=txt",
            "network=unet_shapes", *(f"network.{word}" for word in small), "network.patch=1",
            "network.attention=[0]",
            "batch_size=4", "steps=2", "save_every=2", "warmup=0",
        ]),
        tmp_path / "run",
    )  # fmt: skip
    checkpoint = tmp_path / "run" / "model.safetensors"
    spec, _ = read_checkpoint(checkpoint)
    assert set(spec.conditions["text"]["words"]) == {
        "a", "blue", "dot", "large", "nothing", "red", "square",
    }  # fmt: skip
    words = ["task=sample", f"checkpoint={checkpoint}", "n=2", "nfe=2", "solver=ddim"]
    sample.run(compose_task([*words, 'prompt="a large dot"', "label=1"]), tmp_path / "drawn")
    with pytest.raises(InputError, match="does not know green"):
        sample.run(compose_task([*words, 'prompt="a green dot"']), tmp_path / "wrong")
