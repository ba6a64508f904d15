"""Words of the command line as the composer reads them: typed as a shell user types them.

``images=my photos (1)`` has a value that the composer's grammar stops at, and is quoted for it;
``--n=4``, which sweep agents type, is ``n=4``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sde_diffusion.config.groups import BASES, names
from sde_diffusion.config.schema import did_you_mean
from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown

# Flags of the composer; those of the first row are followed by a value.
VALUE_FLAGS = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--info", "-i", "--experimental-rerun",
)  # fmt: skip
FLAGS = (
    *VALUE_FLAGS, "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r",
    "--multirun", "-m", "--shell-completion", "-sc",
)  # fmt: skip
CONFIG_DIR = ("--config-dir", "-cd")
KEY = re.compile(r"\s*([+~]*[\w./@-]+)\s*=\s*(.*?)\s*", re.DOTALL)
NULL = ("null", "none", "~", "")
LISTS = ("augment", "guidance", "metric")
# Groups of whole configs, that hold no component.
RECIPES = ("experiment", "launch", "search")


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and overrides; ``--key=value`` is an override."""
    flags: list[str] = []
    overrides: list[str] = []
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if (i > 0 and argv[i - 1] in VALUE_FLAGS and "=" not in argv[i - 1]) or name in FLAGS:
            flags.append(word)
        elif name.startswith("-"):
            key = name.lstrip("-")
            if not equals:
                near = did_you_mean(name, FLAGS)
                raise InputError(f"{name}: no such flag; {near}a key is given as {key}=VALUE")
            overrides.append(f"{key}={value}")
        else:
            overrides.append(word)
    return flags, overrides


def with_folders(words: Sequence[str]) -> list[str]:
    """``join A B`` as ``join folders=["A","B"]``: words of that task without ``=`` are folders."""
    if list(words[:1]) != ["join"]:
        return list(words)
    folders = [word for word in words[1:] if KEY.fullmatch(word) is None or Path(word).is_dir()]
    others = [word for word in words[1:] if word not in folders]
    given = [f"folders=[{','.join(map(_quoted, folders))}]"] if folders else []
    return ["join", *given, *others]


def config_folders(flags: Sequence[str]) -> list[str]:
    """The values of ``--config-dir`` among the flags."""
    folders: list[str] = []
    for i, flag in enumerate(flags):
        name, equals, value = flag.partition("=")
        if name in CONFIG_DIR:
            folders += [value] if equals else flags[i + 1 : i + 2]
    return folders


def readable(words: Sequence[str], several: bool = False) -> list[str]:
    """Overrides that the composer's grammar takes, values quoted where they must be.

    ``several``: a comma stands between values of which each makes a job.
    """
    return [_readable(word, several) for word in words]


def _readable(word: str, several: bool) -> str:
    match = KEY.fullmatch(word)
    if match is None:
        return word
    key, value = match.groups()
    if key in (*BASES, *RECIPES) and value.lower() in NULL:
        chosen = f"{key}=[]" if key in LISTS else f"one of {', '.join(names(key))}"
        raise InputError(f"{key}={value}: no choice; give {chosen}, or leave {key}= out")
    if _parses(word):
        return word
    if _parses(f"{key}={value}"):
        return f"{key}={value}"
    if value[:1] in ("[", "{"):
        raise InputError(
            f"{shown(word)}: not read; quote it as a whole, '{key}=[A,B]', and within it each "
            f"value with spaces or other signs, '{key}=[\"A B\",C]'"
        )
    parts = value.split(",") if several else [value]
    quoted = ",".join(part if _parses(f"{key}={part}") else _quoted(part) for part in parts)
    if not _parses(f"{key}={quoted}"):
        raise InputError(f"{shown(word)}: not read; give a value without quotation marks and ${{")
    return f"{key}={quoted}"


def _quoted(value: str) -> str:
    """A value as the grammar's text: a backslash counts only before a quotation mark."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{escaped}"'


def _parses(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except (HydraException, RecursionError):
        return False
    return True
