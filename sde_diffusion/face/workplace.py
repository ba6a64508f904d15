"""Where a call works: in a folder that it is given, or in one that goes when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sde_diffusion.config.schema import trusted_packages
from sde_diffusion.face import values
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.system.identity import COMPONENT
from sde_diffusion.system.names import OURS
from sde_diffusion.system.notice import notice
from sde_diffusion.system.output import Output
from sde_diffusion.system.tracking import NoTracker


@contextmanager
def workplace(folder: Any, unknown: str) -> Iterator[tuple[Output, Path]]:
    """Where results go, and where unfinished work is kept, for as long as the block lasts.

    Args:
        folder: of the results; None for none that stay.
        unknown: what of the work has no content to be recognised by, a function in memory, say:
            then nothing of it is kept for another call. Empty if all is known.
    """
    with ExitStack() as stack:
        place = kept = None if folder is None else values.place("folder", folder)
        if kept is None or unknown:
            kept = Path(stack.enter_context(TemporaryDirectory(prefix="sde_diffusion-")))
        output = Output(place or kept, NoTracker())
        stack.enter_context(output.held("folder"))
        if place is not None and unknown:
            notice(f"folder={place}: {unknown} cannot be recognised later; each call begins anew")
        yield output, kept


def unknown_content(model: OpenedModel, components: Any) -> str:
    """What cannot be told from another that looks like it: a model without a file, or classes that
    a notebook may change. ``components`` are plain containers of identities."""
    if not model.fingerprint:
        return f"model {model.name}"
    trusted = trusted_packages()
    for name in _names(components):
        package, _, cls = name.rpartition(":")
        if (package or OURS) not in trusted:
            return cls
    return ""


def _names(identity: Any) -> Iterator[str]:
    """The names of all components in an identity."""
    if isinstance(identity, Mapping):
        if COMPONENT in identity:
            yield str(identity[COMPONENT])
        for value in identity.values():
            yield from _names(value)
    elif isinstance(identity, list | tuple):
        for value in identity:
            yield from _names(value)
