"""Files of sentences: texts, tables, and what is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_diffusion.data.prompts import in_turn, prompt_lines
from tests.refusals import refused

TWO = ["a red circle, small", "a blue square"]
WRITTEN = {
    "a.txt": "a red circle, small\na blue square\n\n",
    "a.csv": 'id,Prompt\n0,"a red circle, small"\n1,a blue square\n',
    "crlf.csv": 'text\r\n"a red circle, small"\r\na blue square\r\n',
    "bom.csv": '\ufeffcaption\n"a red circle, small"\na blue square\n',
    "a.jsonl": '{"prompt": "a red circle, small"}\n\n{"prompt": "a blue square"}\n',
    "noending": "a red circle, small\na blue square",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_table_has_a_sentence_a_row(name: str, tmp_path: Path) -> None:
    """The head of a table was the first sentence, and of JSON the brackets."""
    path = tmp_path / name
    path.write_bytes(WRITTEN[name].encode())
    assert prompt_lines(path) == TWO


WRONG = {
    "a.json": (b'["a red circle"]', ".json is not read", "a sentence a line"),
    "a.tsv": (b"id\tprompt\n0\ta\n", ".tsv is not read", ".csv"),
    "head.csv": (b"a red circle,1\na blue square,2\n", "line 2 has", "a column text"),
    "more.csv": (b"text\na red circle, small\n", "line 2 has more values", "in quotes"),
    "empty.csv": (b"text\na\n\"\"\nb\n", "line 3 is empty", "write a sentence"),
    "only.csv": (b"text\n", "has no sentence", "write one"),
    "list.jsonl": (b'{"text": ["a"]}\n', "line 1: text is of type list", "give one text"),
    "wide.txt": ("a red circle\n".encode("utf-16-le"), "line 1 holds U+0000", "leave it out"),
    "colour.txt": (b"a \x1b[31mred circle\n", "line 1 holds U+001B", "leave it out"),
    "latin.txt": ("a réd circle\n".encode("latin-1"), "no text in UTF-8", "write it so"),
    "blank.txt": (b"a\n\nb\n", "line 2 is empty", "remove it"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_holds_no_sentences_says_so(name: str, tmp_path: Path) -> None:
    content, wrong, remedy = WRONG[name]
    path = tmp_path / name
    path.write_bytes(content)
    with refused(f"prompts={path}", wrong, remedy):
        prompt_lines(path)


def test_a_sentence_in_the_place_of_a_file_says_where_it_goes() -> None:
    with refused("prompts=a red circle", 'prompt="a red circle"'):
        prompt_lines("a red circle")


def test_sentences_are_taken_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_turn("x", ["a", "b"], 3) == ["a", "b", "a"]
    assert not capsys.readouterr().err
    assert in_turn("x", ["a", "b", "c"], 1) == ["a"]
    assert capsys.readouterr().err == "prompts=x: the first 1 of 3 sentences, one an image\n"
