"""Words of the command line as the composer reads them: typed as a shell user types them.

``images=my photos (1)`` has a value that the composer's grammar stops at, and is quoted for it;
``--n=4``, which sweep agents type, is ``n=4``.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from sde_diffusion.config import samplers
from sde_diffusion.config.choices import INPAINTING
from sde_diffusion.config.command import value
from sde_diffusion.config.groups import BASES, names, node
from sde_diffusion.config.help import keys
from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.spelling import did_you_mean, folded
from sde_diffusion.system.storage import shipped

# Flags of the composer; those of the first row are followed by a value.
VALUE_FLAGS = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--experimental-rerun",
)  # fmt: skip
FLAGS = (
    *VALUE_FLAGS, "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r",
    "--multirun", "-m", "--shell-completion", "-sc", "--info", "-i",
)  # fmt: skip
INFO = ("--info", "-i")
ABOUT = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")  # what it shows
CONFIG_DIR = ("--config-dir", "-cd")
PACKAGE = ("--package", "-p")
KEY = re.compile(r"\s*([+~]*[\w./@-]+)\s*=\s*(.*?)\s*", re.DOTALL)
CHOICE = re.compile(r"\{\s*([\w-]+)\s*:\s*\{(.*)\}\s*\}")
NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan)|true|false", re.I)
CHOSEN = re.compile(r"[\w./@+-]+")  # the name of a file of a group
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")  # that need not be there yet
NULL = ("null", "none", "~", "")
SAMPLER, SAMPLED = "sampler", ("sample", "edit")  # a key, and tasks of one solver
HOW = ("experiment", "grid", "guidance", "method", "nfe", SAMPLER, "solver")  # a picture is edited
LISTS = ("augment", "guidance", "metric")
# Groups of whole configs, that hold no component.
RECIPES = ("experiment", "launch", "method", "search")


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and overrides; ``--key=value`` is an override."""
    flags: list[str] = []
    overrides: list[str] = []
    for i, word in enumerate(argv):
        if word in ("=", "--") or word.startswith("="):
            before = argv[i - 1] if i and word == "=" else "KEY"
            raise InputError(f"{word}: no override; a key is given as {before}=VALUE, no spaces")
        name, equals, value = word.partition("=")
        if word in INFO:  # its value may be left out: the next word is a task, say
            topic = argv[i + 1] if argv[i + 1 : i + 2] and argv[i + 1] in ABOUT else "all"
            flags.append(f"--info={topic}")
        elif i > 0 and argv[i - 1] in INFO and word in ABOUT:
            continue
        elif (i > 0 and argv[i - 1] in VALUE_FLAGS and "=" not in argv[i - 1]) or name in FLAGS:
            flags.append(word)
        elif name.startswith("-"):
            key = name.lstrip("-")
            if not equals:
                near = did_you_mean(name, FLAGS)
                raise InputError(f"{name}: no such flag; {near}a key is given as {key}=VALUE")
            overrides.append(f"{key}={value}")
        else:
            overrides.append(word)
    for flag in flags:
        if flag.partition("=")[0] in PACKAGE and not {"--cfg", "-c"} & set(flags):
            raise InputError(
                f"{flag}: a part of what --cfg job prints; a key is given as KEY=VALUE"
            )
    return flags, overrides


def second_task(typed: Sequence[str], named: Sequence[str]) -> str:
    """What to say of words without ``=``, of which one alone is a task: a value with spaces that
    lost its quotes, ``prompt=a red circle``, or a second task."""
    if named[1] in shipped():
        return f"{named[1]}: no override; give checkpoint={named[1]}"
    at = typed.index(named[1])
    before = typed[at - 1]
    if named[1] in names("task") or "=" not in before:
        return f"{named[1]}: {named[0]} is the task already; give one, and KEY=VALUE"
    rest = itertools.takewhile(lambda word: "=" not in word, typed[at:])
    return (
        f"{named[1]}: no override; a value with spaces is quoted as a whole, "
        f"'{' '.join([before, *rest])}'"
    )


def with_folders(words: Sequence[str]) -> list[str]:
    """``join A B`` as ``join folders=["A","B"]``: words of that task without ``=`` are folders."""
    if list(words[:1]) != ["join"]:
        return list(words)
    folders = [word for word in words[1:] if KEY.fullmatch(word) is None or Path(word).is_dir()]
    others = [word for word in words[1:] if word not in folders]
    listed = [f"folders=[{','.join(map(_quoted, folders))}]"] if folders else []
    return ["join", *listed, *others]


def with_sampler(words: Sequence[str]) -> list[str]:
    """``sampler="DPM++ 2M Karras"`` as ``solver=dpmpp_2m grid=karras_to_zero``; of compare, whose
    list of solvers takes such names, ``sampler=[A,B]`` as ``solvers=[A,B]``."""
    pairs = {m[1]: m[2] for word in words if (m := KEY.fullmatch(word)) is not None}
    if SAMPLER not in pairs:
        return list(words)
    task, value = pairs.get("task", "compare"), pairs[SAMPLER].strip("'\"")
    if task == "compare":
        if "solvers" in pairs:
            raise InputError(
                f"{SAMPLER}={value}: solvers is given too; name all in one of them, "
                "solvers=[unipc,'DPM++ 2M Karras']"
            )
        chosen = [f"solvers={value if value.startswith('[') else f'[{_quoted(value)}]'}"]
    elif task in SAMPLED:
        chosen = _of_preset(value, pairs)
    else:
        raise InputError(f"{SAMPLER}={value}: {task} takes none; compare, {', '.join(SAMPLED)} do")
    return [
        each
        for word in words
        for each in (chosen if word.partition("=")[0].strip() == SAMPLER else [word])
    ]


def with_method(words: Sequence[str]) -> list[str]:
    """``edit mask=FILE`` of which nothing says how, with the method for known pixels."""
    pairs = {m[1].lstrip("+"): m[2] for word in words if (m := KEY.fullmatch(word)) is not None}
    tuned = any(re.split(r"[.@]", key)[0] in HOW for key in pairs)
    exact = pairs.get("operator", "mask") == "mask" and "operator.noise" not in pairs
    if pairs.get("task") != "edit" or tuned or not exact:
        return list(words)
    return [*words, f"method={INPAINTING}"]


def _of_preset(name: str, beside: Mapping[str, str]) -> list[str]:
    """What one typed before there were such names."""
    if name[:1] == "[" or "," in name:
        raise InputError(f"{SAMPLER}={name}: one name here; compare {SAMPLER}=[A,B] takes several")
    preset = samplers.chosen(beside.get("solver"), beside.get("grid"), name)
    words = [f"solver={preset.solver}"]
    words += [f"solver.{key}={value(each)}" for key, each in preset.solver_fields.items()]
    if preset.grid is not None and "grid" not in beside:
        words.append(f"grid={preset.grid}")
        words += [f"grid.{key}={value(each)}" for key, each in preset.grid_fields.items()]
    return words


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
    chosen = [word.removeprefix("task=") for word in words if word.startswith("task=")]
    task = chosen[0] if chosen else "compare"
    return [_readable(word, several, task) for word in words]


def _readable(word: str, several: bool, task: str) -> str:
    match = KEY.fullmatch(word)
    if match is None:
        if "=" in word or word.startswith("~"):  # ~KEY takes one away
            return word
        raise InputError(f"{shown(word)}: no override; a key is given as KEY=VALUE")
    key, value = match.groups()
    if value.startswith("~/") and not several and not Path("~").exists():  # a shell left it
        with contextlib.suppress(RuntimeError):  # of a user without one
            value = str(Path(value).expanduser())
            word = f"{key}={value}"
    if key in FOLDERS and not value.strip("'\""):
        raise InputError(f"{key}=: an empty path; give a folder, {key}=. for this one")
    nothing = NULL if key in LISTS else (*NULL, "[]", "{}")
    if key in (*BASES, *RECIPES) and value.lower() in nothing:
        chosen = f"{key}=[]" if key in LISTS else f"one of {', '.join(names(key))}"
        raise InputError(f"{key}={value}: no choice; give {chosen}, or leave {key}= out")
    if key in (*BASES, "method"):
        _check_choice(key, value, several)
    for read in (word, f"{key}={value}"):
        if (parsed := _parsed(read)) is not None:
            if several or not parsed.is_sweep_override():
                return read
            if key not in FOLDERS and not Path(value).exists():
                raise InputError(_one_of_several(key, value, takes_list(key, task)))
            break
    if value[:1] in ("[", "{"):
        raise InputError(
            f"{shown(word)}: not read; quote it as a whole, '{key}=[A,B]', and within it each "
            f"value with spaces or other signs, '{key}=[\"A B\",C]'"
        )
    parts = value.split(",") if several else [value]
    quoted = ",".join(p if several and _parsed(f"{key}={p}") else _quoted(p) for p in parts)
    if _parsed(f"{key}={quoted}") is None:
        raise InputError(f"{shown(word)}: not read; give a value without quotation marks and ${{")
    return f"{key}={quoted}"


def _check_choice(group: str, value: str, several: bool) -> None:
    """InputError for a choice that no file can be called, at which the composer stumbles."""
    typed = shown(f"{group}={value}")
    name = value.strip("'\"")
    is_choice = value[:1] in ("[", "{") or folded(name) in map(folded, names(group))
    if group == "solver" and not is_choice and samplers.known(name):
        raise InputError(
            f"{typed}: a sampler of other programs; give sampler='{samplers.find(name).name}'"
        )
    if (one := CHOICE.fullmatch(value)) is not None:
        field_name, _, number = one[2].partition(":")
        field = f" {group}.{field_name.strip()}={number.strip()}" if number else ""
        raise InputError(f"{typed}: type {group}={one[1]}{field}, each field a word")
    if "(" in value:  # of a sweep
        return
    listed = [each.strip() for each in value.removeprefix("[").removesuffix("]").split(",")]
    named = all(CHOSEN.fullmatch(each.strip("'\"")) for each in listed) or value == "[]"
    if not named or any(map(NUMBER.fullmatch, listed)):
        raise InputError(f"{typed}: no such choice; choose one of {', '.join(names(group))}")
    twice = [each for each in listed if listed.count(each) > 1]
    if twice and group in LISTS and value[:1] == "[":
        raise InputError(f"{typed}: {twice[0]} twice; give each once")
    if len(listed) > 1 and group not in LISTS and not several:
        raise InputError(f"{typed}: several, of which one is chosen; give {group}={listed[0]}")


def takes_list(key: str, task: str) -> bool:
    """Whether a key may have several values in one job, as the task's file or a component's says:
    by its default, or by what stands beside it."""
    if key in LISTS:
        return True
    group, _, field = key.partition(".")
    if field:
        return group in BASES and any(
            isinstance(node(group, name).get(field), list) for name in names(group)
        )
    for line in keys(task).splitlines():
        named, colon, rest = line.strip().partition(":")
        if colon and named.strip('"') == key:
            default, _, about = (part.strip() for part in rest.partition("#"))
            unsaid = default == "null" and not about
            return unsaid or default.startswith("[") or "[" in about or "list" in about
    return False


def _one_of_several(key: str, value: str, listed: bool) -> str:
    """What to say of values that make a job each, where one job is asked for."""
    sweep = "add -m, which makes a job of each"
    if "," not in value or "(" in value or not listed:
        return f"{key}={shown(value)}: several values; give one of them, or {sweep}"
    return f"{key}={shown(value)}: several values; give a list, '{key}=[{value}]', or {sweep}"


def _quoted(value: str) -> str:
    """A value as the grammar's text: a backslash counts only before a quotation mark."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{escaped}"'


def _parsed(word: str) -> Override | None:
    """The composer's reading of an override; None where its grammar stops."""
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, RecursionError):
        return None
