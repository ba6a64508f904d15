"""Reading yaml as the command line's composer reads it: 1e-4 is a number, nothing is an object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sde_diffusion.errors import InputError

MAX_BYTES = 2**20
MAX_DEPTH = 50
MAX_NODES = 200_000
# How deep the files of a folder of configs lie: group/file, and group/part/file.
PLACES = ("*.yaml", "*/*.yaml", "*/*/*.yaml")
# Where libyaml is there, its parser is ten times as fast.
_Safe: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """The safe types of YAML 1.1, with the numbers of 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load(path: Path) -> dict[str, Any]:
    """The mapping that a file holds; InputError for anything else, in one line."""
    try:
        text = _text(path)
        _check_size(text)
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
            raise ValueError("references (*name) are not read")
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: no yaml ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a mapping of names to values")
    return {str(key): value for key, value in content.items()}


def check_folders(folders: Sequence[str]) -> None:
    """InputError for a yaml in a folder of configs that would take the composer's memory or time.

    One that is no yaml is passed over: the composer says so where it is asked for.
    """
    for path in (
        path for folder in folders for place in PLACES for path in Path(folder).glob(place)
    ):
        try:
            _check_size(_text(path))
        except (yaml.YAMLError, OSError, UnicodeDecodeError):
            continue
        except ValueError as error:
            raise InputError(
                f"{path}: not read ({error}); write its values out, or remove it"
            ) from error


def _text(path: Path) -> str:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size} bytes, more than {MAX_BYTES}")
    return path.read_text()


def _check_size(text: str) -> None:
    """ValueError for a text that is nested too deeply, or that stands for too many values.

    A few lines that refer to each other may stand for a gigabyte. An alias counts as the values
    that its anchor stands for; nothing is built.
    """
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []  # anchors, and how many nodes came before them
    nodes = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            nodes += sizes.get(event.anchor, MAX_NODES)  # one that is open refers to itself
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, nodes - 1))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = nodes - before
        if len(opened) > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        if nodes > MAX_NODES:
            raise ValueError(f"stands for more than {MAX_NODES} values")
