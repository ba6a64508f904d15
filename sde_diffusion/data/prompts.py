"""Sentences of a file: one a line, or of a column of a CSV or JSONL file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import category

from sde_diffusion.data.captions import NO_LETTERS
from sde_diffusion.data.tables import CSV, JSONL, TEXTS, cell, rows
from sde_diffusion.errors import InputError
from sde_diffusion.system.notice import once

REMEDY = f"give a text file, a sentence a line, or a .csv or .jsonl with a column {TEXTS[0]}"
TABLES = (*CSV, *JSONL)
NO_LINES = (".tsv", ".json", ".yaml", ".yml", ".xml", ".html")  # of which a line is no sentence


def prompt_lines(path: Any) -> list[str]:
    """The sentences of a file; InputError if there are none, or one of them is empty."""
    where = f"prompts={path}"
    content, suffix = _content(path, where), Path(str(path)).suffix.lower()
    if suffix in NO_LINES:
        raise InputError(f"{where}: {suffix} is not read; {REMEDY}")
    if suffix in TABLES:
        table = rows(str(path), content, where, REMEDY)
        lines = {k: cell(row, TEXTS, f"{where}: line {k}", REMEDY).strip() for k, row in table}
    else:  # as files end them: other separators of Unicode may stand in a sentence
        lines = {k: x.strip() for k, x in enumerate(content.rstrip().split("\n"), start=1)}
    if not any(lines.values()):
        raise InputError(f"{where}: has no sentence; write one a line")
    for k, text in lines.items():
        if not text:  # left out, image k would get the sentence of another line
            raise InputError(f"{where}: line {k} is empty; remove it, or write a sentence")
        if strange := [x for x in " ".join(text.split()) if category(x) in NO_LETTERS]:
            raise InputError(
                f"{where}: line {k} holds U+{ord(strange[0]):04X}, which is no letter; leave it out"
            )
    return list(lines.values())


def _content(path: Any, where: str) -> str:
    try:
        return Path(str(path)).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: no text in UTF-8; write it so") from error
    except (OSError, ValueError) as error:
        more = f'; of one sentence, prompt="{path}"' if " " in str(path).strip() else ""
        raise InputError(f"{where}: no text file that can be read; give one{more}") from error


def in_turn(path: Any, lines: Sequence[str], count: int) -> list[str]:
    """A sentence for each of ``count`` images, from the first line on again and again."""
    if count < len(lines):
        once(f"prompts={path}: the first {count} of {len(lines)} sentences, one an image")
    return [lines[k % len(lines)] for k in range(count)]


@contextmanager
def of_file(path: Any) -> Iterator[None]:
    """What is refused of a prompt names the file that it is from; of None it is as it was."""
    try:
        yield
    except InputError as error:
        if path is None or not str(error).startswith("prompt"):
            raise
        raise InputError(f"prompts={path}: {error}") from error
