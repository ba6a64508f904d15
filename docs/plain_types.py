"""API pages show ``float`` where a signature says ``Annotated[float, Within(...)]``.

An extension of griffe, which mkdocstrings reads the package by. What an argument may be stands in
words in its docstring, and is said where it is refused.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import griffe


class PlainTypes(griffe.Extension):
    """Takes the notes off annotations, wherever in them they stand, also where they have a name."""

    def on_package(self, *, pkg: griffe.Module, **kept: Any) -> None:
        """Those of all functions and fields of a package."""
        self._within(pkg, pkg)

    def _within(self, home: griffe.Object, package: griffe.Module) -> None:
        for member in list(home.members.values()):
            if isinstance(member, griffe.Function):
                for parameter in member.parameters:
                    parameter.annotation = plain(parameter.annotation, package)
                member.returns = plain(member.returns, package)
            elif isinstance(member, griffe.Attribute):
                member.annotation = plain(member.annotation, package)
            elif isinstance(member, griffe.Module | griffe.Class):
                self._within(member, package)


def plain(annotation: Any, package: griffe.Module) -> Any:
    """The expression with its first part in the place of each ``Annotated[FIRST, ...]``."""
    if isinstance(annotation, list):
        return [plain(part, package) for part in annotation]
    if not isinstance(annotation, griffe.Expr):
        return annotation
    if is_annotated(annotation):
        inside = annotation.slice
        return plain(
            inside.elements[0] if isinstance(inside, griffe.ExprTuple) else inside, package
        )
    if isinstance(annotation, griffe.ExprName):
        named = value_of(annotation.canonical_path, package)
        return plain(named, package) if is_annotated(named) else annotation
    for field in fields(annotation):  # type: ignore[arg-type]
        if field.name != "parent":
            setattr(annotation, field.name, plain(getattr(annotation, field.name), package))
    return annotation


def is_annotated(annotation: Any) -> bool:
    """Whether it is ``Annotated[...]``."""
    return isinstance(annotation, griffe.ExprSubscript) and annotation.canonical_name == "Annotated"


def value_of(path: str, package: griffe.Module) -> Any:
    """The value of a name of the package, SigmaMin = Annotated[...]; None of any other."""
    try:
        found = package[path.removeprefix(f"{package.name}.")]
        found = found.final_target if found.is_alias else found
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None
    return getattr(found, "value", None)
