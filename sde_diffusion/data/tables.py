"""Rows of a CSV or JSONL file that a user wrote, by the names of their columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sde_diffusion.errors import InputError
from sde_diffusion.system import strict_json
from sde_diffusion.system.notice import printable

CSV, JSONL = (".csv",), (".jsonl", ".ndjson")
OTHER_COMMAS = (";", "\t", "|")  # between the columns of some spreadsheets
TEXTS = ("text", "caption", "prompt")  # columns of sentences


def rows(
    source: str, content: str, where: str, remedy: str
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Lines of a table, with their numbers; InputError, which begins with ``where``, for none.

    Args:
        source: its name, whose ending says what it is. remedy: what to give in its place.
    """
    suffix = PurePosixPath(source).suffix.lower()
    if suffix in CSV:
        yield from _of_csv(content, where, remedy)
    elif suffix in JSONL:
        yield from _of_jsonl(content, where, remedy)
    else:
        raise InputError(f"{where}: {remedy}")


def cell(row: Mapping[str, Any], keys: Sequence[str], where: str, remedy: str) -> str:
    """The value of the first of ``keys`` that a row has; InputError for none, or for no text."""
    key = next((key for key in keys if key in row), None)
    if key is None:
        held = sorted(map(str, row))
        other = next((mark for mark in OTHER_COMMAS if held and mark in held[0]), "")
        parted = f", parted by commas in the place of {other!r}" if other else ""
        raise InputError(f"{where} has {held}; {remedy}{parted}")
    if not isinstance(row[key], str):
        kind = "empty" if row[key] is None else f"of type {type(row[key]).__name__}"
        raise InputError(f"{where}: {key} is {kind}; give one text")
    return str(row[key])


def _of_csv(content: str, where: str, remedy: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        table = csv.DictReader(io.StringIO(content, newline=""), strict=True)
        _check_columns([each.strip().lower() for each in table.fieldnames or ()], table, where)
        for row in table:
            if None in row:  # a comma in words that no quotes hold together
                raise InputError(
                    f"{where}: line {table.line_num} has more values than there are columns; "
                    'put a caption with commas in quotes, "a red circle, a blue square"'
                )
            yield table.line_num, row
    except csv.Error as error:
        raise InputError(f"{where}: no CSV ({error}); {remedy}") from error


def _of_jsonl(content: str, where: str, remedy: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(content.split("\n"), start=1):  # others may stand in a text
        if not text.strip():
            continue
        try:
            row = strict_json.loads(text)
        except ValueError as error:
            why = printable(error, 80)
            raise InputError(f"{where}: line {line} is no JSON ({why}); {remedy}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: line {line} is no JSON object; {remedy}")
        yield line, row


def _check_columns(columns: list[str], table: csv.DictReader[str], where: str) -> None:
    """Names of columns in small letters; InputError for one that stands twice."""
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise InputError(f"{where}: two columns are called {twice[0]!r}; leave one out")
    table.fieldnames = columns
