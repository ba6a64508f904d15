"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sde_diffusion.errors import InputError

# The shipped files.
ASSETS = Path(__file__).resolve().parents[1] / "assets"
# Names of shipped files that are no models: data, extractors, references, rules.
NO_MODEL = re.compile(r"data-.*|.*-(cnn|reference|calibrated)")
# Ends the name of the file whose lock says who makes a part.
CLAIM = ".claim"
# Ends the name of a file or folder until it is whole.
HALF = ".half"
# What killed writers leave: what is not whole, whatever it was to be, and claims.
LEFT = re.compile(r"\..+\.([a-z0-9_]{8}\.half|claim)")


def write_atomically(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: a temporary file beside it, then a rename.

    InputError if the disk is full or may not be written: what was there before stays.
    """
    with writing(path) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """An open file whose content is at ``path`` once the block has ended well, and never before.

    InputError if the disk is full or may not be written: what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{path}: not written ({error.strerror}); the same command goes on from what is there"
        ) from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    name = ""
    try:
        with tempfile.NamedTemporaryFile(**beside(path), delete=False) as f:
            name = f.name
            yield f
            f.flush()
            os.fsync(f.fileno())
            os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        if name:
            with contextlib.suppress(FileNotFoundError):  # an interrupt after the rename
                os.unlink(name)
        raise


def beside(path: Path) -> dict[str, Any]:
    """Where ``tempfile`` is to make what ``path`` will be, so that ``tidy`` knows it."""
    return {"dir": path.parent, "prefix": f".{path.name}.", "suffix": HALF}


def tidy(folder: Path) -> None:
    """Remove what writers killed half-way have left in a job's ``folder``, where nobody writes now,
    and in the folders of its parts."""
    for pattern in (".*", "*/.*", "cells/*/.*"):
        for path in folder.glob(pattern):
            if LEFT.fullmatch(path.name):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def csv_text(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """Rows as CSV, with these columns, or those of any row."""
    columns = names or list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def fingerprint(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


LONGEST = 200  # name of a shipped file; of longer ones the system makes an error


def asset(name: str) -> Path:
    """A shipped safetensors file by its name, else the path that ``name`` is."""
    shipped = ASSETS / f"{name}.safetensors"
    # Joined to another, a path would be that of its neighbour.
    alone = Path(name).name == name and len(name) < LONGEST
    return shipped if alone and shipped.is_file() else Path(name)


def assets(ending: str) -> list[str]:
    """The names of the shipped files that end so, in order."""
    return sorted(path.stem for path in ASSETS.glob(f"*{ending}.safetensors"))


def shipped() -> list[str]:
    """The names of the models that the package carries."""
    return [name for name in assets("") if not NO_MODEL.fullmatch(name)]


def cache_folder() -> Path:
    """Where what can be made again is kept: SDE_DIFFUSION_CACHE, else ~/.cache/sde_diffusion; for a
    user without a home nowhere, which a line says."""
    if named := os.environ.get("SDE_DIFFUSION_CACHE"):
        return Path(named)
    try:
        return Path.home() / ".cache" / "sde_diffusion"
    except RuntimeError:
        return Path(os.devnull, "no home; set SDE_DIFFUSION_CACHE")
