"""Keys that have another name now: they go on for one release, and say what to type.

``denoiser=karras`` chose a parameterization, and is called that. A component's fields stand under
its own name: ``network.widths``, not ``network.args.widths``; ``guidance.cfg.scale``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

from sde_diffusion.errors import InputError

NAME = "network.name"
WORD = re.compile(r"([+~]*)([^=]*)(=?)(.*)", re.DOTALL)
# Class paths by the names that it had.
NETWORKS = {
    "unet": "sde_diffusion.networks.unet.UNet",
    "dit": "sde_diffusion.networks.dit.DiT",
    "ncsnpp": "sde_diffusion.networks.ncsnpp.NCSNpp",
    "mlp": "sde_diffusion.networks.mlp.MLP",
}
# A key, and what is typed in its place.
RENAMED = (
    (r"denoiser", "parameterization"),
    (r"denoiser\.args\.(.+)", r"parameterization.\1"),
    (r"denoiser\.(sigma_min|sigma_max)", r"\1"),
    (r"network\.args\.(.+)", r"network.\1"),
    (r"network\.name", "network._target_"),
    (r"guidance\.scale", "guidance.cfg.scale"),
    (r"metrics", "metric"),
)
OLD = tuple((re.compile(old), new) for old, new in RENAMED)


def now(key: str) -> str | None:
    """What an old key is called now; None for a key that has not changed."""
    for old, new in OLD:
        if (match := old.fullmatch(key)) is not None:
            return match.expand(new)
    return None


def tell(line: str) -> None:
    """To the user, beside whatever the command prints."""
    print(f"sde-diffusion: {line}", file=sys.stderr)


def modern(words: Sequence[str], tell: Callable[[str], None] = tell) -> list[str]:
    """Overrides with their old keys under the new names; ``tell`` hears of each."""
    return [_modern(word, tell) for word in words]


def _modern(word: str, tell: Callable[[str], None]) -> str:
    mark, key, equals, value = WORD.fullmatch(word).groups()  # type: ignore[union-attr]  # always
    name = now(key)
    if name is None:
        return word
    if key == "metrics" and "{" in value:
        raise InputError(f"{word}: type metric=[NAME,...] metric.NAME.FIELD=VALUE")
    written = f"{mark}{name}{equals}{NETWORKS.get(value, value) if key == NAME else value}"
    tell(f"{key} is called {name} now: type {written}")
    return written


def hint(key: str) -> str | None:
    """What to do about an old key that is not one word more; None for any other."""
    group, _, field = key.lstrip("/").partition(".")
    if group == "denoiser":
        return "this group is called parameterization now, and its args are fields of it"
    if group == "network" and field == "args":
        return "its args are fields of network now: network.widths=[64,128]"
    if (group, field) == ("noise", "t_max"):
        return "it is not needed any more, a path goes over all times; leave it out"
    return None
