"""Sealed files: whole or refused in one line, whatever was done to them."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sde_diffusion.errors import InputError
from sde_diffusion.system import strict_json
from sde_diffusion.system.sealed import ENTRY, MAX_HEADER, Facts, SealedKind, Tensors
from tests.sealed_files import resealed

KIND = SealedKind("thing", 4, "make one with 'make thing'")
FACTS = {"name": "a", "sizes": [1, 2], "ends": {"low": -math.inf, "high": 2.5}, "none": None}
TENSORS = {
    "weights": torch.arange(6, dtype=torch.float64).reshape(2, 3),
    "half": torch.tensor(0.5, dtype=torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "empty": torch.empty(0, 3),
    "strided": torch.arange(8.0)[::5][1:],
    "part": torch.arange(8.0)[3:6],
}


def both(facts: Facts, tensors: Tensors) -> tuple[Facts, Tensors]:
    return facts, tensors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    KIND.write(tmp_path / "a", TENSORS, FACTS)
    return tmp_path / "a"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        KIND.read(path, "key", both)
    message = str(caught.value)
    assert message.startswith(f"key={path}: ")
    assert message.endswith("make one with 'make thing'")
    assert message.isprintable()
    return message


def test_it_is_read_as_it_was_written(path: Path) -> None:
    facts, tensors = KIND.read(path, "key", both)
    assert facts == FACTS
    assert set(tensors) == set(TENSORS)
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, TENSORS[name])
    before = path.read_bytes()
    KIND.write(path, dict(reversed(TENSORS.items())), FACTS)
    assert path.read_bytes() == before
    assert set(KIND.read(path, "key", both, prefix="w")[1]) == {"weights"}


def test_views_are_written_as_what_they_show(tmp_path: Path) -> None:
    """One number of a column, a transpose, every second row, a scalar, nothing."""
    grid = torch.arange(12.0).reshape(3, 4)
    views = {"one": grid[1:2, 2], "turned": grid.T, "some": grid[::2], "scalar": grid[2, 1],
             "none": grid[3:]}  # fmt: skip
    KIND.write(tmp_path / "views", views, {})
    written = KIND.read(tmp_path / "views", "key", both)[1]
    assert all(torch.equal(written[name], views[name]) for name in views)


def test_its_json_is_strict(path: Path) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    entry = json.loads(content[8 : 8 + length])["__metadata__"][ENTRY]
    assert "Infinity" not in entry
    assert strict_json.loads(entry)["facts"]["ends"]["low"] == {"float": "-inf"}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_torn_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "torn, or no thing" in refusal(path)


def test_no_flipped_bit_goes_unnoticed(path: Path) -> None:
    """In facts, checksums or numbers; only the padding after the header is nobody's."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    used = [k for k in range(len(content)) if not (k < end and content[k : k + 1].isspace())]
    draw = random.Random(0)
    for at in draw.sample(used, 150):
        damaged = bytearray(content)
        damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        refusal(path)


def entry(size: int, offsets: list[Any]) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [size], "data_offsets": offsets}


def header_of(entries: Any, data: bytes = b"") -> bytes:
    text = entries if isinstance(entries, str) else json.dumps(entries)
    return struct.pack("<Q", len(text)) + text.encode() + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (struct.pack("<Q", 2**62) + b"{}", "its header has"),
        (struct.pack("<Q", MAX_HEADER + 1) + b"{}" + b" " * (MAX_HEADER + 1), "its header has"),
        (struct.pack("<Q", 0), "its header has"),
        (header_of({"a": entry(2**40, [0, 2**42])}), "bytes, not"),
        (header_of({"a": entry(1, [0, 4])}, b"12345"), "bytes, not"),
        (header_of({"a": entry(1, ["0", "4"])}), "int"),
        (header_of('{"__metadata__": {}, "__metadata__": {}}'), "stands twice"),
        (header_of('{"__metadata__": {"sealed": NaN}}'), "NaN"),
        (header_of("[" * 100_000), "recursion"),
        (header_of("[]"), "no"),
        (header_of({"__metadata__": {}}), "it has no 'sealed'"),
        (header_of({"__metadata__": {"sealed": "{}"}}), "it has no 'seal'"),
        (header_of({"__metadata__": {"sealed": '{"a": 1, "a": 1}'}}), "stands twice"),
        (header_of({"__metadata__": {"sealed": '{"a": 1e999}'}}), "1e999"),
        (header_of({"__metadata__": {"sealed": '"text"'}}), "no thing"),
    ],
)  # fmt: skip
def test_lying_headers_are_refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    assert reason in refusal(path)


def test_a_header_that_lies_costs_no_memory(path: Path) -> None:
    """Four terabytes are asked for: refused by the size of the file."""
    path.write_bytes(header_of({"a": entry(2**40, [0, 2**42])}, b"1234"))
    refusal(path)


def test_other_kinds_formats_and_tensors_are_refused(path: Path, tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "missing")
    assert "no such file" in refusal(tmp_path)
    resealed(path, number=5)
    assert "a thing of format 5, not 4" in refusal(path)
    SealedKind("other", 4, "").write(path, TENSORS, FACTS)
    assert "a other of format 4" in refusal(path)
    KIND.write(path, TENSORS, FACTS)
    with_more = {**load_file(path), "more": torch.zeros(1)}
    save_file(with_more, path, {ENTRY: entry_of(path)})
    assert "tensors are missing or strange" in refusal(path)
    KIND.write(path, TENSORS, FACTS)
    fewer = {k: v for k, v in load_file(path).items() if k != "flags"}
    save_file(fewer, path, {ENTRY: entry_of(path)})
    assert "tensors are missing or strange" in refusal(path)


def entry_of(path: Path) -> str:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return str(header["__metadata__"][ENTRY])


@pytest.mark.parametrize("wrong", [KeyError("a\x1b[31m"), TypeError("x"), RecursionError("x")])
def test_what_a_reader_raises_is_one_line(path: Path, wrong: Exception) -> None:
    def parse(facts: Facts, tensors: Tensors) -> None:
        raise wrong

    with pytest.raises(InputError, match=r"key=.*make one with") as caught:
        KIND.read(path, "key", parse)
    assert str(caught.value).isprintable()


def test_a_readers_own_refusal_keeps_its_words(path: Path) -> None:
    def parse(facts: Facts, tensors: Tensors) -> None:
        raise InputError("made by another; give another")

    with pytest.raises(InputError, match=r"^key=\S*: made by another; give another$"):
        KIND.read(path, "key", parse)


def test_what_an_earlier_run_left_is_recalled_or_made_again(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert KIND.recall(path.with_name("missing"), both) is None
    assert capsys.readouterr().err == ""
    assert KIND.recall(path, lambda facts, tensors: facts["name"]) == "a"
    path.write_bytes(path.read_bytes()[:-1])
    assert KIND.recall(path, both) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("a: not usable (")
    assert line.endswith("made again")


def test_files_of_an_earlier_format_are_read(path: Path) -> None:
    kind = SealedKind("thing", 4, "", earlier=lambda metadata, tensors: {"name": metadata["name"]})
    save_file({"x": torch.ones(2)}, path, {"name": "old"})
    facts, tensors = kind.read(path, "key", both)
    assert (facts, tensors["x"].tolist()) == ({"name": "old"}, [1, 1])
    assert "it has no 'sealed'" in refusal(path)


def test_json_holds_finite_numbers_alone() -> None:
    value = {"a": [1.5, math.inf, (math.nan,)], "b": {"c": -math.inf, "d": "Infinity"}}
    assert json.loads(strict_json.dumps(value)) == {
        "a": [1.5, None, [None]], "b": {"c": None, "d": "Infinity"}
    }  # fmt: skip
    back = strict_json.decoded(strict_json.encoded(value))
    assert back["b"] == value["b"]
    assert back["a"][:2] == [1.5, math.inf]
    assert math.isnan(back["a"][2][0])
    assert strict_json.loads("[Infinity]", finite=False) == [math.inf]
    for text in ("[Infinity]", "[NaN]", "[-1e400]", '{"a": 1, "a": 2}'):
        with pytest.raises(ValueError, match="JSON"):
            strict_json.loads(text)
