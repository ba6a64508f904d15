"""What a job left in its folder, less what may differ from run to run: dates, seconds and rates."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open

TIMED = re.compile(r"seconds|ms_per_image|images/s|^date$|^seal$")
DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d[:-]\d\d[:-]\d\d(\.\d+)?(\+\d\d:\d\d)?")


def contents(folder: Path) -> dict[str, Any]:
    """The files of a folder by their path in it, each as what is to be the same in every run.

    Where the folder stands is its user's affair: Hydra's copy of the config says it.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {str(path.relative_to(folder)): content(path) for path in paths}
    here = str(folder.parent)
    return {k: v.replace(here, "HERE") if isinstance(v, str) else v for k, v in found.items()}


def content(path: Path) -> Any:
    """A file's bytes; of a format that holds times, what it says besides."""
    return READERS.get(path.suffix, Path.read_bytes)(path)


def untimed(value: Any) -> Any:
    """Plain data without its entries of time."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not TIMED.search(str(k))}
        return {k: untimed(v) for k, v in kept.items()}
    if isinstance(value, list):
        return [untimed(entry) for entry in value]
    return DATE.sub("DATE", value) if isinstance(value, str) else value


def _json(path: Path) -> Any:
    return untimed(json.loads(path.read_text()))


def _csv(path: Path) -> Any:
    return untimed(list(csv.DictReader(io.StringIO(path.read_text()))))


def _sealed(path: Path) -> Any:
    with safe_open(path, framework="np") as file:
        metadata = {name: untimed(json.loads(text)) for name, text in file.metadata().items()}
    length = int.from_bytes(path.read_bytes()[:8], "little")
    return metadata, path.read_bytes()[8 + length :]


def _text(path: Path) -> str:
    return DATE.sub("DATE", path.read_text())


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _json, ".csv": _csv, ".safetensors": _sealed, ".html": _text, ".md": _text,
    ".yaml": _text,
}  # fmt: skip


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The files that only one of two folders has, or that say something else in them."""
    names = sorted({*first, *second})
    return [name for name in names if first.get(name) != second.get(name)]
