"""Hugging Face data sets: against a stand-in for the package, and the package where it is."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.data import HuggingFace
from sde_diffusion.errors import InputError
from tests.refusals import refused

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
LABELS = [2, 0, 1, 0, 2]


class Table:
    """The part of ``datasets.Dataset`` that is used: rows decode when they are asked for."""

    def __init__(self, columns: dict[str, list[Any]], names: list[str] | None) -> None:
        self.columns = columns
        self.column_names = list(columns)
        self.features = {"label": SimpleNamespace(names=names) if names else object()}

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def select_columns(self, names: list[str]) -> Table:
        return Table({name: self.columns[name] for name in names}, None)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self.columns[key]
        row = {name: values[key] for name, values in self.columns.items()}
        return {name: v() if callable(v) else v for name, v in row.items()}


def table(names: list[str] | None = None) -> Table:
    pictures = [lambda a=a: Image.fromarray(a) for a in PIXELS]
    return Table({"image": pictures, "label": LABELS, "text": ["a"] * 5}, names)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str | None, str], Table]:
    """What the stand-in's ``load_dataset`` finds, by (name, config, split)."""
    found: dict[tuple[str, str | None, str], Table] = {}

    def load_dataset(name: str, config: str | None, split: str) -> Table:
        if (name, config, split) not in found:
            raise ValueError(f'Unknown split "{split}".\n Should be one of [...]')
        return found[name, config, split]

    stand_in = ModuleType("datasets")
    stand_in.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    return found


def test_images_labels_and_names(served: dict[Any, Table]) -> None:
    served["some/set", None, "train"] = table(["a", "b", "c", "never seen"])
    found = HuggingFace("some/set").load()
    assert torch.equal(found.images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS))
    assert found.labels is not None
    assert (found.labels.tolist(), found.labels.dtype) == (LABELS, torch.int64)
    assert (found.classes, found.name) == (4, "set-train")


def test_columns_sizes_and_grey(served: dict[Any, Table]) -> None:
    served["s", "v2", "train"] = table()
    found = HuggingFace("s", config="v2", label=None, size=3, grey=True).load()
    assert found.images.shape == (5, 1, 3, 3)
    assert (found.labels, found.classes) == (None, 0)
    assert HuggingFace("s", config="v2").load().classes == 3


def test_captions_are_a_column_and_of_several_the_first(served: dict[Any, Table]) -> None:
    served["s", None, "train"] = told = table()
    told.columns["text"] = [f"a  dot {i}" for i in range(5)]
    told.columns["several"] = [[f"first {i}", "second"] for i in range(5)]
    told.columns["image"][1] = None
    told.column_names = list(told.columns)
    read = HuggingFace("s", on_error="skip", captions="text").load()
    assert read.captions == ("a dot 0", "a dot 2", "a dot 3", "a dot 4")
    assert HuggingFace("s", on_error="skip", captions="several").load().captions[1] == "first 2"


def test_the_held_out_split_by_its_name(served: dict[Any, Table]) -> None:
    served["s", None, "validation"] = table()
    assert HuggingFace("s", split="test", held_out="validation").load().name == "s-validation"


def test_broken_images_are_refused_or_skipped_by_row(
    served: dict[Any, Table], capsys: pytest.CaptureFixture[str]
) -> None:
    served["s", None, "train"] = broken = table()
    broken.columns["image"][1] = lambda: Image.open(io.BytesIO(b"text"))
    broken.columns["image"][3] = None
    with refused("data.name=s: row 1 of train"):
        HuggingFace("s").load()
    found = HuggingFace("s", on_error="skip").load()
    assert found.labels is not None
    assert found.labels.tolist() == [2, 1, 2]
    assert torch.equal(found.images[1].permute(1, 2, 0), torch.from_numpy(PIXELS[2]))
    assert "row 3 of train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "all"}, r"^data\.name=s: split all: Unknown split .*data\.config"),
        ({"image": "img"}, r"^data\.image=img: s has the columns \['image', 'label', 'text'\]"),
        ({"label": "class"}, r"^data\.label=class"),
        ({"label": "image"}, r"^data\.label=image: not a column of classes"),
        ({"label": "text"}, r"^data\.label=text: not a column of classes"),
        ({"captions": "words"}, r"^data\.captions=words: s has the columns"),
        ({"captions": "label"}, r"^data\.captions=label: row 0 of train is no text; give"),
        ({"on_error": "mend"}, r"^data\.on_error=mend"),
    ],
)
def test_what_is_wrong_is_one_line(
    served: dict[Any, Table], wrong: dict[str, str], message: str
) -> None:
    served["s", None, "train"] = table()
    with pytest.raises(InputError, match=message) as caught:
        HuggingFace("s", **wrong).load()  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with refused("data=huggingface", "pip install 'sde_diffusion[dat"):
        HuggingFace("s").load()


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets not installed")
@pytest.mark.filterwarnings("ignore")
def test_the_package_itself_reads_a_local_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    import datasets

    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    content = {"img": [Image.fromarray(a) for a in PIXELS], "label": LABELS}
    made = datasets.Dataset.from_dict(content, features=features)
    made.to_parquet(str(tmp_path / "set" / "train-00000.parquet"))
    found = HuggingFace(str(tmp_path / "set"), image="img").load()
    assert torch.equal(found.images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS))
    assert found.labels is not None
    assert (found.labels.tolist(), found.classes, found.name) == (LABELS, 3, "set-train")
    with refused("data.name=", "split test:"):
        HuggingFace(str(tmp_path / "set"), split="test", image="img").load()
    with refused("data.name=nosuch-set"):
        HuggingFace("nosuch-set").load()
