"""The command line of the running job, as a shell takes it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig

PROGRAM = "sde-diffusion"
TASK = "task="
BARE = re.compile(r"[A-Za-z_][\w./-]*")


def typed() -> str | None:
    """What was typed; None outside of a command."""
    if not HydraConfig.initialized():
        return None
    words = [str(word) for word in HydraConfig.get().overrides.task]
    task = [word.removeprefix(TASK) for word in words if word.startswith(TASK)]
    return shlex.join([PROGRAM, *task, *(word for word in words if not word.startswith(TASK))])


def typed_keys() -> set[str]:
    """The keys of the task, and the groups, that were typed or a field of which was; none outside
    of a command."""
    return _keys(r"[@=.]")


def _keys(end: str) -> set[str]:
    """What stands in each word before ``end``."""
    words = [] if (command := typed()) is None else shlex.split(command)
    return {re.split(end, word, maxsplit=1)[0].lstrip("+~") for word in words}


def written_out(keys: Mapping[str, Any]) -> str | None:
    """The same with the choice of every group, and the value of every key that is the task's
    ``keys``, where none was typed; None outside of a command."""
    command = typed()
    if command is None:
        return None
    fixed = _keys(r"[@=]")
    choices = {
        name: str(choice)
        for name, choice in HydraConfig.get().runtime.choices.items()
        if name.isidentifier() and choice not in (None, "null")
    }
    words = [f"{name}={_choice(choice)}" for name, choice in choices.items() if name not in fixed]
    words += [f"{key}={value(v)}" for key, v in keys.items() if key not in fixed and key != "task"]
    return " ".join([command, *(shlex.quote(word) for word in sorted(words))])


def _choice(choice: str) -> str:
    return choice.replace("'", "").replace(" ", "")


def value(setting: Any) -> str:
    """A plain value in the words of Hydra's grammar."""
    if isinstance(setting, Mapping):
        return "{" + ",".join(f"{value(k)}:{value(v)}" for k, v in setting.items()) + "}"
    if isinstance(setting, list | tuple):
        return "[" + ",".join(value(item) for item in setting) + "]"
    if isinstance(setting, str) and not BARE.fullmatch(setting):
        return "'" + setting.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return setting if isinstance(setting, str) else json.dumps(setting)
