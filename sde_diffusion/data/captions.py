"""Captions of images: a sentence of each, in a table of names or in a text file beside it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from unicodedata import category

from sde_diffusion.conditions.text import SHOWN, words_of
from sde_diffusion.data.files import MAX_BYTES, Members
from sde_diffusion.data.tables import TEXTS, cell, rows
from sde_diffusion.errors import InputError
from sde_diffusion.system.notice import notice

BESIDE = "txt"
NAMES = ("file_name", "filename", "file", "image")
REMEDY = "give a .csv or .jsonl file with the columns file_name and text, or txt"
MOST = 200  # words of a caption
NO_LETTERS = ("Cc", "Cs")  # of Unicode: control, and halves of pairs


def captions_of(source: str, there: Members, root: str, names: Sequence[str]) -> tuple[str, ...]:
    """The caption of each of the images ``names``; InputError for one that is not there.

    Args:
        source: ``txt``, for NAME.txt beside NAME.png, or a CSV or JSONL file, here or among the
            data.
        there, root: what there is at data.path, and that path.
    """
    where = f"data.captions={source}"
    if source == BESIDE:
        texts = {name: _beside(name, there, where) for name in names}
    else:
        texts = _of_table(source, there, root, where)
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


def _of_table(source: str, there: Members, root: str, where: str) -> dict[str, str]:
    """Captions by the names of their images; InputError for a name that is none of theirs."""
    pictures = {_key(name) for name in there.names}
    texts: dict[str, str] = {}
    for line, row in rows(source, _content(source, there, where), where, REMEDY):
        others = [key for key in TEXTS if key in row][1:]
        if others and not texts:
            notice(f"{where}: column {others[0]} is not read beside the one before it in {TEXTS}")
        name, text = (cell(row, keys, f"{where}: line {line}", REMEDY) for keys in (NAMES, TEXTS))
        if _key(name) not in pictures:
            raise InputError(
                f"{where}: line {line} names {name}, which is no image below data.path={root}; "
                "write names from there"
            )
        if _key(name) in texts:
            raise InputError(f"{where}: line {line} names {name} again; give one caption of each")
        texts[_key(name)] = text
    return texts


def _content(source: str, there: Members, where: str) -> str:
    path = Path(source)
    try:
        if path.is_file():
            with open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise InputError(f"{where}: more than {MAX_BYTES} bytes; give a smaller file")
        else:
            content = there.read(source)
        return content.decode("utf-8-sig")
    except (OSError, KeyError) as error:
        raise InputError(f"{where}: no such file here or among the data; {REMEDY}") from error
    except ValueError as error:
        raise InputError(f"{where}: no text in UTF-8; {REMEDY}") from error


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))
