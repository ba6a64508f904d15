"""Tab completion of a line as it is typed: ``sample solver=dp`` is ``task=sample solver=dp``.

The shell calls the program with the line in ``COMP_LINE``; the composer, which answers it, knows
overrides only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import escape
from pathlib import Path

from sde_diffusion.config import samplers
from sde_diffusion.config.groups import names
from sde_diffusion.system.storage import shipped

COMPLETION = ("--shell-completion", "-sc")
SAMPLER = "sampler="
MODELS = ("checkpoint", "init")  # keys that the name of a shipped model is given to
# Data sets that a name alone opens, and by task the keys that it is given to.
DATA = ("cifar10", "digits", "fashion_mnist", "mnist")
SETS = {
    "compare": ("reference",),
    "evaluate": ("images", "reference", "train"),
    "interpolate": ("images",),
    "sample": ("statistics",),
}
WORD = re.compile(r"""(?:"[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s"'])+""")  # spaces in quotes are its own


def asked(flags: Sequence[str]) -> bool:
    """Whether the shell asks for completions."""
    return any(flag in COMPLETION for flag in flags)


def as_overrides(line: str) -> tuple[str, list[str]]:
    """The line as the composer reads it, and the tasks, samplers, names or files that its last word
    may become.

    A task is written as an override once its word is whole, that is, followed by a space. Words
    with a space in quotes, and ``sampler=``, are not for the composer: it cannot read them.
    """
    tasks = names("task")
    typed = list(WORD.finditer(line))
    begun = bool(typed) and typed[-1].end() == len(line)
    *whole, last = [word[0] for word in typed] + [""] * (not begun)
    has_task = any(word in tasks or word.startswith("task=") for word in whole[1:])
    words = [f"task={word}" if word in tasks else word for word in whole[1:]]
    words = [word for word in words if " " not in word and not word.startswith(SAMPLER)]
    if last.startswith(SAMPLER):
        fitting, last = _samplers(last.removeprefix(SAMPLER)), SAMPLER
    elif has_task:
        task = next(word for word in whole[1:] if word in tasks or word.startswith("task="))
        fitting = [*_named(last, task.removeprefix("task=")), *_files(last)]
    else:
        fitting = [task for task in tasks if whole and task.startswith(last)]
    return " ".join([*whole[:1], *words, last]), fitting


def _named(word: str, task: str) -> list[str]:
    """``checkpoint=mn``: shipped models; data sets that a name opens, where a path may stand."""
    key, _, begun = word.partition("=")
    known = shipped() if key in MODELS else DATA if key in SETS.get(task, ()) else []
    return [f"{key}={name}" for name in known if name.startswith(begun)] if "=" in word else []


def _files(word: str) -> list[str]:
    """``images=outputs/sample-1``: what lies there, but for names that a shell would part.

    A path from here or from the root, ``./`` or ``/``, the composer completes itself.
    """
    key, _, begun = word.partition("=")
    if not begun or begun[0] in "./\\'\"[{" or names(key):
        return []
    there = sorted(Path().glob(f"{escape(begun)}*"))
    return [f"{key}={path}{'/' * path.is_dir()}" for path in there if " " not in str(path)]


def _samplers(begun: str) -> list[str]:
    """``sampler=DPM++_2M``: a shell parts words at spaces, and signs make no difference in a name.

    Methods, and with the schedules after it the one whose name stands there already.
    """
    methods, schedules, _ = samplers.table()
    bare = [method.name.replace(" ", "_") for method in methods]
    after = [schedule.name.replace(" ", "_") for schedule in schedules if schedule.choice]
    scheduled = [
        f"{method}_{each}" for method in bare if begun.startswith(method) for each in after
    ]
    every = dict.fromkeys([*bare, *scheduled])
    return [f"{SAMPLER}{name}" for name in every if name.startswith(begun)]
