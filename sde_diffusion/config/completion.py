"""Tab completion of a line as it is typed: ``sample solver=dp`` is ``task=sample solver=dp``.

The shell calls the program with the line up to the cursor in ``COMP_LINE``; the composer, which
answers it, knows overrides only, and no names with spaces.
"""

from __future__ import annotations

import glob
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
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
PLAIN = re.compile(r"[\w.,/=+~@:\[\]-]*")  # what the composer can read
MEANT = re.compile(r"""([^\w.,/=+~@:%-])""")  # what a shell takes for something else
# Bash replaces what stands after the last of COMP_WORDBREAKS or an open quote; zsh whole words.
BASH = """\
_sde_diffusion() {
    local line command=${COMP_WORDS[0]/#\\~/$HOME}
    type -P "$command" > /dev/null || command=sde-diffusion
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(COMP_LINE=${COMP_LINE:0:COMP_POINT} COMP_WORDBREAKS=$COMP_WORDBREAKS \\
        "$command" -sc query=bash 2> /dev/null)
}
complete -o nospace -o default -F _sde_diffusion sde-diffusion"""
ZSH = """\
_sde_diffusion() {
    local command=${words[1]/#\\~/$HOME} begun="${words[1,CURRENT-1]} $QIPREFIX$PREFIX"
    local -a offered=("${(@f)$(COMP_LINE=$begun $command -sc query=zsh 2> /dev/null)}")
    [[ -n $offered ]] && compadd -Q -S '' -U -- $offered || _default
}
compdef _sde_diffusion sde-diffusion"""

SCRIPTS = {
    "install=bash": BASH,
    "install=zsh": ZSH,
    "uninstall=bash": "complete -r sde-diffusion; unset -f _sde_diffusion",
    "uninstall=zsh": "compdef -d sde-diffusion; unfunction _sde_diffusion",
}


def asked(flags: Sequence[str]) -> bool:
    """Whether the shell asks for completions."""
    return any(flag in COMPLETION for flag in flags)


@dataclass(frozen=True)
class Typed:
    """A line as a shell understands it.

    Attributes:
        whole: the words that are done, less their quotes. last: the one at the cursor, "" if none.
        quote: the one that is open at the cursor, or "".
        begun: how much of ``last`` the shell leaves as it stands, and does not replace.
    """

    whole: list[str]
    last: str
    quote: str
    begun: int


def parsed(line: str, breaks: str = "") -> Typed:
    """The words of a line; ``breaks`` are characters after which a shell completes anew."""
    whole: list[str] = []
    word, quote, opened, begun = "", "", 0, 0
    inside = False  # of a word, which may be empty yet
    rest = iter(line)
    for c in rest:
        if c == "\\" and quote != "'":
            escaped = next(rest, "")
            word += c * bool(quote and escaped not in '"\\$`') + escaped
        elif c == quote:
            quote = ""
        elif not quote and c in "\"'":
            quote, opened = c, len(word)
        elif not quote and c.isspace():
            whole += [word] * inside
            word, begun = "", 0
        else:
            word += c
            begun = len(word) if not quote and c in breaks else begun
        inside = bool(quote) or not c.isspace()
    return Typed(whole, word, quote, opened if quote else begun)


def written(word: str, typed: Typed) -> str:
    """A word as it stands in the line, from where the shell replaces what was typed."""
    rest = word[typed.begun :]
    if typed.quote == "'":
        return rest.replace("'", "'\\''")
    return re.sub(r'(["\\$`])' if typed.quote else MEANT, r"\\\1", rest)


def answer(words: Sequence[str], compose: Callable[[], None]) -> None:
    """Print what a shell asks for: its script, or what the last word may become, one a line.

    Args:
        words: of the command. compose: Hydra, whose answer it is where it is not ours.
    """
    asks = next((word for word in words if word in SCRIPTS or word.startswith("query=")), "")
    if asks in SCRIPTS:
        return print(SCRIPTS[asks])
    if not asks:
        return compose()
    shell = asks.removeprefix("query=")
    breaks = os.environ.get("COMP_WORDBREAKS", "") if shell == "bash" else ""
    line = os.environ.get("COMP_LINE", "")
    typed = parsed(line, breaks)
    os.environ["COMP_LINE"], overrides = as_overrides(line)
    # It answers all shells alike, but for bash with names parted by spaces.
    sys.argv[1:] = ["query=fish" if word == asks else word for word in sys.argv[1:]]
    try:
        with redirect_stdout(io.StringIO()) as printed:
            compose()
    finally:
        every = dict.fromkeys([*overrides, *printed.getvalue().splitlines()])
        for word in every:
            if word.startswith(typed.last):
                print(word if shell == "fish" else written(word, typed))


def as_overrides(line: str) -> tuple[str, list[str]]:
    """The line as the composer reads it, and the tasks, samplers, names or files that its last word
    may become.

    A task is written as an override once its word is whole, that is, followed by a space. Words
    that the composer cannot read are not for it, nor are ``sampler=`` and paths.
    """
    tasks = names("task")
    typed = parsed(line)
    whole, last = typed.whole, typed.last
    key, equals, value = last.partition("=")
    has_task = any(word in tasks or word.startswith("task=") for word in whole[1:])
    words = [f"task={word}" if word in tasks else word for word in whole[1:]]
    words = [word for word in words if PLAIN.fullmatch(word) and not word.startswith(SAMPLER)]
    if last.startswith(SAMPLER):
        fitting = _samplers(value, spaced=bool(typed.quote) or " " in value)
    elif has_task:
        task = next(word for word in whole[1:] if word in tasks or word.startswith("task="))
        fitting = [*_named(last, task.removeprefix("task=")), *_files(last)]
    else:
        fitting = [task for task in tasks if whole and task.startswith(last)]
    if last.startswith(SAMPLER) or not PLAIN.fullmatch(last) or value[:1] in {".", "/"}:
        last = key + equals if PLAIN.fullmatch(key) else ""
    return " ".join([*["sde-diffusion"][: len(whole)], *words, last]), fitting


def _named(word: str, task: str) -> list[str]:
    """``checkpoint=mn``: shipped models; data sets that a name opens, where a path may stand."""
    key, _, begun = word.partition("=")
    candidates = shipped() if key in MODELS else DATA if key in SETS.get(task, ()) else []
    return [f"{key}={name}" for name in candidates if name.startswith(begun)] if "=" in word else []


def _files(word: str) -> list[str]:
    """``images=outputs/sample-1``: what lies there."""
    key, _, begun = word.partition("=")
    if not begun or begun[0] in "[{" or names(key):
        return []
    there = sorted(glob.glob(f"{glob.escape(begun)}*"))
    return [f"{key}={path}{'/' * Path(path).is_dir()}" for path in there]


def _samplers(begun: str, spaced: bool) -> list[str]:
    """``sampler=DPM++_2M``: where no quote is open a sign stands for a space, all the same in a
    name.

    Methods, and with the schedules after it the one whose name stands there already.
    """
    methods, schedules, _ = samplers.table()
    between = " " if spaced else "_"
    bare = [method.name.replace(" ", between) for method in methods]
    after = [each.name.replace(" ", between) for each in schedules if each.choice]
    scheduled = [
        f"{method}{between}{each}" for method in bare if begun.startswith(method) for each in after
    ]
    every = dict.fromkeys([*bare, *scheduled])
    return [f"{SAMPLER}{name}" for name in every if name.startswith(begun)]
