"""Captions of images: a sentence of each, in a table of names or in a text file beside it."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import category

from sde_diffusion.conditions.text import SHOWN, words_of
from sde_diffusion.data.files import MAX_BYTES, Members
from sde_diffusion.errors import InputError
from sde_diffusion.system import strict_json
from sde_diffusion.system.notice import notice, printable

BESIDE = "txt"
NAMES, TEXTS = ("file_name", "filename", "file", "image"), ("text", "caption", "prompt")
REMEDY = "give a .csv or .jsonl file with the columns file_name and text, or txt"
MOST = 200  # words of a caption
NO_LETTERS = ("Cc", "Cs")  # of Unicode: control, and halves of pairs


def captions_of(said: str, there: Members, root: str, names: Sequence[str]) -> tuple[str, ...]:
    """The caption of each of the images ``names``; InputError for one that is not there.

    Args:
        said: ``txt``, for NAME.txt beside NAME.png, or a CSV or JSONL file, here or among the data.
        there, root: what there is at data.path, and that path.
    """
    where = f"data.captions={said}"
    if said == BESIDE:
        texts = {name: _beside(name, there, where) for name in names}
    else:
        texts = _of_table(said, there, root, where)
        lost = [name for name in names if _key(name) not in texts]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise InputError(f"{where}: no caption of {lost[0]}{more}; write one of each image")
        texts = {name: texts[_key(name)] for name in names}
    return tuple(checked(text, f"{where}: the caption of {name}") for name, text in texts.items())


def checked(text: str, where: str) -> str:
    """A caption on one line; InputError, which begins with ``where``, for none and for an endless
    one."""
    text, count = " ".join(text.split()), len(words_of(text))
    if strange := [letter for letter in text if category(letter) in NO_LETTERS]:
        raise InputError(f"{where} holds U+{ord(strange[0]):04X}, which is no letter; leave it out")
    if not count:
        raise InputError(f"{where} has no words; write some")
    if count > MOST:
        raise InputError(f"{where} has {count} words; give {MOST} at most: {text[:SHOWN]}...")
    return text


def _beside(name: str, there: Members, where: str) -> str:
    path = str(PurePosixPath(name).with_suffix(".txt"))
    try:
        return there.read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: {path} is no text in UTF-8; write it so") from error
    except (OSError, KeyError) as error:
        raise InputError(f"{where}: {path} is not there; write one beside each image") from error


def _of_table(said: str, there: Members, root: str, where: str) -> dict[str, str]:
    """Captions by the names of their images; InputError for a name that is none of theirs."""
    known = {_key(name) for name in there.names}
    texts: dict[str, str] = {}
    for line, row in _rows(said, _content(said, there, where), where):
        others = [key for key in TEXTS if key in row][1:]
        if others and not texts:
            notice(f"{where}: column {others[0]} is not read beside the one before it in {TEXTS}")
        name, text = (_cell(row, keys, f"{where}: line {line}") for keys in (NAMES, TEXTS))
        if _key(name) not in known:
            raise InputError(
                f"{where}: line {line} names {name}, which is no image below data.path={root}; "
                "write names from there"
            )
        if _key(name) in texts:
            raise InputError(f"{where}: line {line} names {name} again; give one caption of each")
        texts[_key(name)] = text
    return texts


def _cell(row: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    """The value of the first of ``keys`` that a row has; InputError for none, or for no text."""
    key = next((key for key in keys if key in row), None)
    if key is None:
        raise InputError(f"{where} has {sorted(map(str, row))}; {REMEDY}")
    if not isinstance(row[key], str):
        kind = "empty" if row[key] is None else f"of type {type(row[key]).__name__}"
        raise InputError(f"{where}: {key} is {kind}; give one text")
    return str(row[key])


def _content(said: str, there: Members, where: str) -> str:
    path = Path(said)
    try:
        if path.is_file():
            with open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise InputError(f"{where}: more than {MAX_BYTES} bytes; give a smaller file")
        else:
            content = there.read(said)
        return content.decode("utf-8-sig")
    except (OSError, KeyError) as error:
        raise InputError(f"{where}: no such file here or among the data; {REMEDY}") from error
    except ValueError as error:
        raise InputError(f"{where}: no text in UTF-8; {REMEDY}") from error


def _rows(said: str, content: str, where: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Lines of a table, with their numbers."""
    suffix = PurePosixPath(said).suffix.lower()
    if suffix == ".csv":
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
            raise InputError(f"{where}: no CSV ({error}); {REMEDY}") from error
        return
    if suffix not in (".jsonl", ".ndjson"):
        raise InputError(f"{where}: {REMEDY}")
    for line, text in enumerate(content.split("\n"), start=1):  # others may stand in a text
        if not text.strip():
            continue
        try:
            row = strict_json.loads(text)
        except ValueError as error:
            why = printable(error, 80)
            raise InputError(f"{where}: line {line} is no JSON ({why}); {REMEDY}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: line {line} is no JSON object; {REMEDY}")
        yield line, row


def _check_columns(columns: list[str], table: csv.DictReader[str], where: str) -> None:
    """Names of columns in small letters; InputError for one that stands twice."""
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise InputError(f"{where}: two columns are called {twice[0]!r}; leave one out")
    table.fieldnames = columns


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))
