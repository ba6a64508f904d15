"""The modules that a callable works with, and evaluation mode for them while it is asked."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

DEPTH = 3  # functions that name functions


def modules_of(model: Any, depth: int = DEPTH) -> list[nn.Module]:
    """What a callable is, is a method of, is made with or names, of modules of torch."""
    if isinstance(model, nn.Module):
        return [model]
    if depth == 0 or isinstance(model, type | ModuleType):
        return []
    of_parts = [modules_of(each, depth - 1) for each in _parts(model)]
    return list(dict.fromkeys(module for modules in of_parts for module in modules))


@contextmanager
def evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within the block they draw no dropout and take no statistics of their batch; afterwards each
    layer is in the mode that it was in."""
    training = [layer for module in modules for layer in module.modules() if layer.training]
    for layer in training:
        layer.training = False
    try:
        yield
    finally:
        for layer in training:
            layer.training = True


def _parts(model: Any) -> list[Any]:
    """What a callable is put together of."""
    if isinstance(model, functools.partial):
        return [model.func, *model.args, *model.keywords.values()]
    if isinstance(model, FunctionType):
        cells = [cell for cell in model.__closure__ or () if _is_filled(cell)]
        named = [model.__globals__.get(name) for name in model.__code__.co_names]
        wrapped = vars(model).get("__wrapped__")
        held = [*(cell.cell_contents for cell in cells), *named, wrapped]
        return [each for each in held if callable(each)]
    owner = getattr(model, "__self__", None)
    if owner is not None:
        return [owner]
    return [each for each in getattr(model, "__dict__", {}).values() if callable(each)]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # its variable has no value yet
        return False
    return True
