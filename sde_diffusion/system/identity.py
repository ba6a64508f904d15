"""What a component is, by name and fields, wherever its class stands.

Cells, parts, runs and output folders are recognised by content. A class path in that content would
make a stranger of every unfinished run as soon as a module moves: the name of the class stands for
it, with its package where that is another one.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Mapping
from functools import cache
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, final, runtime_checkable

from sde_diffusion.errors import ArgumentsError
from sde_diffusion.system.annotations import Listable
from sde_diffusion.system.names import component, first_paths, name_of
from sde_diffusion.system.ranges import check

TARGET = "_target_"
COMPONENT = "component"
# Lists of components, which work one after the other.
ORDERED, ORDER = ("guidance", "augment"), "order"
# Fields that components of revision 7a19cb7 had and that say nothing any more, with the values that
# its digests were of.
RETIRED: dict[str, dict[str, Any]] = {"Brownian": {"t_max": 100.0}}
# Fields that components have got since, with the values that change nothing: digests are without.
ADDED: dict[str, dict[str, Any]] = {
    "ImageFolder": {"fit": "squash", "captions": None},
    "HuggingFace": {"fit": "squash", "captions": None},
    "TorchScriptExtractor": {"trust": True},
}  # fmt: skip
Self = TypeVar("Self", bound="Component")


class Component:
    """A part that a user can choose: known by its class and the arguments that it was made with.

    These are kept as they were given, whatever the constructor makes of them, so that an object can
    be shown, told from another and made again. A class has nothing to do for it but to name its
    arguments: ``*args`` and ``**kwargs`` cannot be read back. What they may be is said by their
    annotations, and checked before the constructor runs; see ``ranges``.

    Attributes:
        known_as: what a message calls it, the name of its group: ``solver``.
    """

    known_as: ClassVar[str] = ""

    def __init_subclass__(cls, known_as: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if known_as:
            cls.known_as = known_as

    if not TYPE_CHECKING:  # a checker shall see the constructors alone

        def __new__(cls, *args, **kwargs):
            new = super().__new__(cls)
            try:
                given = _signature(cls).bind_partial(*args, **kwargs).arguments
            except TypeError as error:
                takes = ", ".join(parameters(cls)) or "nothing"
                raise ArgumentsError(
                    f"{cls.known_as or 'component'}={cls.__name__}: {error}; it takes {takes}"
                ) from None
            usual = defaults(cls)
            check(cls.known_as or cls.__name__, kinds(cls), {**usual, **given}, usual)
            # Not by name: a torch module takes attributes only after its own constructor.
            vars(new)["_given"] = {k: list(v) if type(v) is list else v for k, v in given.items()}
            return new

    @final
    def fields(self) -> dict[str, Any]:
        """The constructor's arguments by name, defaults included."""
        arguments: dict[str, Any] = vars(self)["_given"]
        return {name: arguments.get(name, p.default) for name, p in parameters(type(self)).items()}

    @final
    def changed(self: Self, **fields: Any) -> Self:
        """Another object of the same class and fields, those that are named here excepted."""
        return type(self)(**{**self.fields(), **fields})

    @final
    def identity(self) -> dict[str, Any]:
        """Its name and fields as plain values: {"component": "UniPC", "order": 2, ...}."""
        return {COMPONENT: name_of(type(self)), **identity(self.fields())}

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields().items())
        return f"{type(self).__name__}({fields})"


@cache
def _signature(cls: type) -> inspect.Signature:
    owner = next(each for each in cls.__mro__ if "__init__" in vars(each))
    if not issubclass(owner, Component):  # Python's own, or that of a torch module
        return inspect.Signature()
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, without self."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in _signature(cls).parameters.items() if p.kind in named}


@cache
def defaults(cls: type) -> dict[str, Any]:
    """The defaults of those of them that have one."""
    return {k: p.default for k, p in parameters(cls).items() if p.default is not p.empty}


@cache
def kinds(cls: type) -> dict[str, Any]:
    """Their annotations, with what ``Annotated`` adds; none where a name in them is not known here.

    A yaml's values are converted to them, so ``schema`` would refuse such a class.
    """
    try:
        return typing.get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    except NameError:
        return {}


@runtime_checkable
class Identified(Protocol):
    """What says itself what it is known by: components, and content that is held in memory."""

    def identity(self) -> Any: ...


def identity(value: Any) -> Any:
    """``value``, plain containers, with the component's name in the place of each class path.

    A component is its name and fields; numbers and arrays of libraries become Python's.
    """
    if isinstance(value, Identified):
        return value.identity()
    if isinstance(value, Mapping):
        renamed = {COMPONENT: component(str(value[TARGET]))} if TARGET in value else {}
        gone = {TARGET, *RETIRED.get(str({**value, **renamed}.get(COMPONENT)), ())}
        return renamed | {
            k: _in_order(v) if k in ORDERED and isinstance(v, Mapping) else identity(v)
            for k, v in value.items()
            if k not in gone
        }
    if isinstance(value, list | tuple):
        return [identity(entry) for entry in value]
    if isinstance(value, PathLike):
        return fspath(value)
    return value.tolist() if isinstance(value, Listable) else value


def _in_order(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The components of a list by name, and their order where it is not that of the names.

    What 7a19cb7 had beside them, the scale of guidance, is a field of one of them.
    """
    order = chosen.get(ORDER) or [k for k, v in chosen.items() if isinstance(v, Mapping)]
    parts = {name: identity(chosen[name]) for name in order}
    return parts if order == sorted(order) else {**parts, ORDER: list(order)}


def digest(value: Any) -> str:
    """First 10 hex digits of the SHA-256 of the identity of plain containers."""
    text = json.dumps(_hashed(identity(value)), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _hashed(value: Any) -> Any:
    """An identity as 7a19cb7 hashed it: its components by the paths that they had."""
    if isinstance(value, Mapping):
        name = str(value.get(COMPONENT))
        path = first_paths().get(name)
        facts = {} if path is None else {TARGET: path, **RETIRED.get(name, {})}
        if (guidance := value.get("cfg")) and guidance[COMPONENT] == "ClassifierFree":
            facts["scale"] = guidance["scale"]
        added = ADDED.get(name, {})
        return facts | {
            k: _hashed(v)
            for k, v in value.items()
            if not (path and k == COMPONENT) and not (k in added and v == added[k])
        }
    return [_hashed(entry) for entry in value] if isinstance(value, list) else value
