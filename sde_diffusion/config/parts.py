"""A component within another by its name: ``solver.inner=unipc solver.inner.order=3``.

The composer knows no names below a choice. What the yaml of a part says is put in the place of the
node that stands there, before the fields that are given to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sde_diffusion.config import groups
from sde_diffusion.config.schema import unknown
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import TARGET
from sde_diffusion.system.spelling import did_you_mean

PART = re.compile(r"(\w+)\.(\w+)=(\w.*|\{\s*[\w-]+\s*:.*\}|\{\s*[\w-]+\s*\})", re.DOTALL)
# What the composer has for it, which leaves the fields of the part that stood there.
OTHERWISE = re.compile(r"\+*(?:\w+@(\w+\.\w+)|(\w+\.\w+)\._target_)=(.+)", re.DOTALL)
NAME = re.compile(r"[A-Za-z][\w-]*")
PLAIN = ("null", "true", "false", "none", "nan", "inf")  # words that are values


def whole(words: Sequence[str]) -> list[str]:
    """The overrides with each part that is chosen by name written out; InputError for a name that
    is none, and for a field that it has not."""
    written: list[str] = []
    for word in words:
        _check(word)
        match = PART.fullmatch(word)
        group = None if match is None else groups.part_group(match[1], match[2])
        if match is None or group is None:
            written.append(word)
            continue
        key = f"{match[1]}.{match[2]}"
        node = _chosen(match[3], group, key)
        # Fields that were typed before the choice are fields of what it chooses.
        first = [k for k, one in enumerate(written) if one.startswith(f"{key}.")]
        at = first[0] if first else len(written)
        written[at:at] = [word] if node is None else [f"~{key}", f"+{key}={_literal(node)}"]
    return written


def _check(word: str) -> None:
    """InputError for a part that is chosen in another way than by its name alone."""
    match = OTHERWISE.fullmatch(word)
    group = None if match is None else groups.part_group(*(match[1] or match[2]).split("."))
    if match is None or group is None:
        return
    name, choices = match[3], groups.names(group)
    if match[2]:
        name = next((each for each in choices if groups.node(group, each)[TARGET] == name), "NAME")
    raise InputError(f"{word}: a part is chosen by its name; type {match[1] or match[2]}={name}")


def _chosen(value: str, group: str, key: str) -> dict[str, Any] | None:
    """The node of NAME or of {NAME: {FIELD: VALUE}}; None of what chooses nothing by its name."""
    fields: Any = {}
    if value.startswith("{"):
        try:
            parsed = OverridesParser.create().parse_override(f"x={value}").value()
        except (HydraException, RecursionError):
            return None
        if not isinstance(parsed, dict) or len(parsed) != 1:
            return None
        ((value, fields),) = ((str(name), fields or {}) for name, fields in parsed.items())
    if not NAME.fullmatch(value) or value.lower() in PLAIN:
        return None
    choices = groups.names(group)
    if value not in choices and not isinstance(fields, Mapping):
        return None  # {FIELD: VALUE} of the part that stands there
    if value not in choices:
        raise InputError(
            f"{key}={value}: no such choice; {did_you_mean(value, choices)}"
            f"choose one of {', '.join(choices)}"
        )
    node = groups.node(group, value)
    if not isinstance(fields, Mapping):
        raise InputError(f"{key}.{value}={fields}: give {{FIELD: VALUE}}")
    for name in fields:
        if name not in node:
            raise unknown(key, str(name), set(node) - {TARGET})
    return {**node, **{str(name): field for name, field in fields.items()}}


def _literal(value: Any) -> str:
    """A value in the composer's grammar."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_literal, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
