"""Keys that a line has in vain: marks before them, ``+KEY`` and ``~KEY``, one given twice, and the
folder of one job where there are several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sde_diffusion.config.words import FOLDERS, KEY, LISTS
from sde_diffusion.errors import InputError


def unmarked(words: Sequence[str]) -> list[str]:
    """``+KEY=VALUE`` as ``KEY=VALUE``, of which is said what is wrong; marks stay within a
    component, where a node may be added. InputError for a key of the task that is taken away."""
    return [_unmarked(word) for word in words]


def _unmarked(word: str) -> str:
    key = word.partition("=")[0].strip()
    name = key.lstrip("+~")
    if name == key or not name or any(sign in name for sign in ".@/"):
        return word
    if key.startswith("~"):
        instead = "[]" if name in LISTS else "VALUE"
        raise InputError(
            f"~{name}: no key of a task can be taken away; leave ~{name} out, or give "
            f"{name}={instead}"
        )
    return word.strip().lstrip("+")


def tell_repeated(words: Sequence[str], tell: Callable[[str], None]) -> None:
    """``tell`` hears of each key that stands there twice with two values: the last one counts."""
    last: dict[str, str] = {}
    for word in words:
        match = KEY.fullmatch(word)
        if match is None:
            continue
        key = match[1].lstrip("+")
        if last.get(key, match[2]) != match[2]:
            tell(f"{key}={match[2]}: {key}={last[key]} is given too; the last one counts")
        last[key] = match[2]


def check_folders(words: Sequence[str], several: bool) -> None:
    """InputError for the folder of one job where there are several, or the other way round: what
    is written would lie elsewhere."""
    typed = {m[1].lstrip("+"): m[2] for word in words if (m := KEY.fullmatch(word)) is not None}
    one, many = FOLDERS
    vain, meant = (one, many) if several else (many, one)
    if vain in typed and meant not in typed:
        of = "of a single job" if several else "of the jobs of -m"
        raise InputError(f"{vain}={typed[vain]}: {of}; give {meant}={typed[vain]}")
