"""Reading yaml as the command line's composer reads it: 1e-4 is a number, nothing is an object."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from sde_diffusion.errors import InputError

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
        text = path.read_text()
        # A few lines that refer to each other may stand for a gigabyte.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
            raise ValueError("references (*name) are not read")
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: no yaml ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a mapping of names to values")
    return {str(key): value for key, value in content.items()}
