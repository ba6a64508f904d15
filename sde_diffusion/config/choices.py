"""Choices on the command line: one of a few words, or a list of names of a group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sde_diffusion.errors import InputError


def choice(key: str, value: str, allowed: Iterable[str]) -> str:
    """``value``, refused unless it is one of ``allowed``."""
    if value not in allowed:
        raise InputError(f"{key}={value}: choose one of {sorted(allowed)}")
    return value


def entries(choices: Sequence[Any], group: str) -> Iterator[tuple[str, list[str]]]:
    """(label, overrides) of each entry: a name of ``group``, or {label: {group: NAME, ...}}."""
    seen: set[str] = set()
    for entry in choices:
        if not isinstance(entry, str | dict):
            raise InputError(
                f"{group}s: {entry}: give a name, or {{LABEL: {{{group}: NAME, KEY: VALUE}}}}"
            )
        for label, given in ({entry: {}} if isinstance(entry, str) else entry).items():
            if label in seen:
                raise InputError(f"{group}s: {label} twice; give each entry a label of its own")
            if not re.fullmatch(r"[\w.+-]{1,60}", str(label)):
                # It names files, and must stay within its folder and a line of text.
                raise InputError(f"{group}s: label {label!r}; use letters, digits and _ . + -")
            seen.add(label)
            fields = dict(given or {})
            overrides = [f"{group}={fields.pop(group, label)}"]
            if group != "grid" and "grid" in fields:
                overrides.append(f"grid={fields.pop('grid')}")
            yield label, overrides + [f"{group}.{k}={v}" for k, v in fields.items()]
