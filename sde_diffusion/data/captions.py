"""Captions of images: a sentence of each, in a table of names or in a text file beside it."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sde_diffusion.conditions.text import SHOWN, words_of
from sde_diffusion.data.files import MAX_BYTES, Members
from sde_diffusion.errors import InputError
from sde_diffusion.system import strict_json

BESIDE = "txt"
NAMES, TEXTS = ("file_name", "filename", "file", "image"), ("text", "caption", "prompt")
REMEDY = "give a .csv or .jsonl file with the columns file_name and text, or txt"
MOST = 200  # words of a caption


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
    if not count:
        raise InputError(f"{where} has no words; write some")
    if count > MOST:
        raise InputError(f"{where} has {count} words; give {MOST} at most: {text[:SHOWN]}...")
    return text


def _beside(name: str, there: Members, where: str) -> str:
    path = str(PurePosixPath(name).with_suffix(".txt"))
    try:
        return there.read(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: {path} is no text in UTF-8; write it so") from error
    except (OSError, KeyError) as error:
        raise InputError(f"{where}: {path} is not there; write one beside each image") from error


def _of_table(said: str, there: Members, root: str, where: str) -> dict[str, str]:
    """Captions by the names of their images; InputError for a name that is none of theirs."""
    known = {_key(name) for name in there.names}
    texts: dict[str, str] = {}
    for line, row in _rows(said, _content(said, there, where), where):
        name, text = (
            next((row[key] for key in keys if key in row), None) for keys in (NAMES, TEXTS)
        )
        if not isinstance(name, str) or not isinstance(text, str):
            raise InputError(f"{where}: line {line} has {sorted(map(str, row))}; {REMEDY}")
        if _key(name) not in known:
            raise InputError(
                f"{where}: line {line} names {name}, which is no image below data.path={root}; "
                "write names from there"
            )
        if _key(name) in texts:
            raise InputError(f"{where}: line {line} names {name} again; give one caption of each")
        texts[_key(name)] = text
    return texts


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
    for line, text in enumerate(content.splitlines(), start=1):
        if not text.strip():
            continue
        try:
            row = strict_json.loads(text)
        except ValueError as error:
            raise InputError(f"{where}: line {line} is no JSON; {REMEDY}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: line {line} is no JSON object; {REMEDY}")
        yield line, row


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))
