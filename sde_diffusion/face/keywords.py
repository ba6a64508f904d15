"""Keywords of the library: one that is unknown is refused in a line that suggests another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from sde_diffusion.config import renamed
from sde_diffusion.config.options import unknown_keyword
from sde_diffusion.errors import InputError
from sde_diffusion.face.spelling import in_python
from sde_diffusion.system.notice import spelling

OF_A_MODEL = ("precision", "channels_last", "compile")  # said when it is opened
P = ParamSpec("P")
R = TypeVar("R")


def keywords(
    *groups: str, also: Sequence[Callable[..., object]] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that takes its own keywords, and fields of ``groups`` as GROUP__FIELD.

    Args:
        also: functions whose keywords its ``**options`` take too.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        words = [word for each in (function, *also) for word in _words(each)]

        @wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            for keyword in options:
                group, _, field = keyword.partition("__")
                old = renamed.now(keyword.replace("__", ".")) is not None
                if keyword in words or old or (field and group in groups):
                    continue
                if keyword in OF_A_MODEL:
                    raise InputError(f"{keyword}: of a model; give load(CHECKPOINT, {keyword}=...)")
                raise unknown_keyword(keyword, group if field else keyword, groups, words)
            token = spelling.set(in_python)
            try:
                return function(*args, **options)
            except InputError as error:
                error.args = (in_python(str(error)), *error.args[1:])
                raise
            finally:
                spelling.reset(token)

        return call

    return decorate


def _words(function: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named and p.name != "self"]
