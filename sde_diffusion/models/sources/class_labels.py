"""The class labels of diffusers' networks: how many, and the entry that stands for none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sde_diffusion.errors import InputError

CONFIG = "config.json"
MARK = "_sde_diffusion"  # what a folder that was written here says of its labels


def labels_of(class_name: str, config: Mapping[str, Any]) -> tuple[int, int | None, bool]:
    """Number of classes, the entry that stands for no label, and whether there is one."""
    transformer = class_name.startswith("DiT")
    entries = config.get("num_embeds_ada_norm" if transformer else "num_class_embeds")
    entries = 1000 if entries is None and transformer else entries
    if entries is None:
        return 0, None, True
    if type(entries) is not int or not 0 < entries <= 1_000_000:
        raise InputError(f"{CONFIG}: {str(entries)[:40]} classes; give a number from 1 to 1000000")
    mark = config.get(MARK)
    if isinstance(mark, Mapping) and type(mark.get("classes")) is int:
        return mark["classes"], mark.get("null_class"), mark.get("null_class") is not None
    return (entries, entries, True) if transformer else (entries, None, False)


def names_of(index: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    """Those of ``id2label`` in a pipeline's index, a number where it has none for a class."""
    held = index.get("id2label")
    named = {str(k): str(name) for k, name in held.items()} if isinstance(held, Mapping) else {}
    numbers = [str(k) for k in range(classes)]
    return tuple(named.get(k, k) for k in numbers) if named.keys() & set(numbers) else ()
