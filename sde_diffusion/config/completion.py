"""Tab completion of a line as it is typed: ``sample solver=dp`` is ``task=sample solver=dp``.

The shell calls the program with the line in ``COMP_LINE``; the composer, which answers it, knows
overrides only.
"""

from __future__ import annotations

from collections.abc import Sequence

from sde_diffusion.config.groups import names

COMPLETION = ("--shell-completion", "-sc")


def asked(flags: Sequence[str]) -> bool:
    """Whether the shell asks for completions."""
    return any(flag in COMPLETION for flag in flags)


def as_overrides(line: str) -> tuple[str, list[str]]:
    """The line as the composer reads it, and the tasks that its last word may become.

    A task is written as an override once its word is whole, that is, followed by a space.
    """
    tasks = names("task")
    before, _, last = line.rpartition(" ")
    whole = before.split()
    has_task = any(word in tasks or word.startswith("task=") for word in whole[1:])
    program = whole[:1]
    words = [f"task={word}" if word in tasks else word for word in whole[1:]]
    fitting = [] if has_task or not whole else [task for task in tasks if task.startswith(last)]
    return " ".join([*program, *words, last]), fitting
