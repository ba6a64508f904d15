"""What ``help`` says of each public name: its line, all its arguments, and where it is from."""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from enum import Enum
from typing import Any

import pytest

import sde_diffusion

PUBLIC = {name: getattr(sde_diffusion, name) for name in sde_diffusion.__all__[1:]}
CLASSES = {name: public for name, public in PUBLIC.items() if inspect.isclass(public)}
HOMES = Counter(public.__module__ for public in CLASSES.values())
# What is returned to a user, who does not construct it.
RETURNED = {"Analysis", "BitsPerDim", "Evaluation", "InputError", "Inspection", "Results"}
PAPER = re.compile(r"\b\d{4}\.\d{4,5}\b")


def arguments(public: Any) -> list[str]:
    """Of a call, but for *args."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in inspect.signature(public).parameters.values() if p.kind in plain]


@pytest.mark.parametrize("name", PUBLIC)
def test_each_argument_is_explained(name: str) -> None:
    public, text = PUBLIC[name], inspect.getdoc(PUBLIC[name]) or ""
    assert text
    if name in RETURNED or (inspect.isclass(public) and issubclass(public, Enum)):
        return
    takes = arguments(public)
    listed = re.split(r"^(?:Args|Attributes):$", text, flags=re.MULTILINE)[1:]
    assert bool(listed) or not takes
    assert [each for each in takes if not re.search(rf"\b{each}\b", " ".join(listed))] == []


@pytest.mark.parametrize("name", CLASSES)
def test_the_papers_of_a_class_are_in_its_docstring(name: str) -> None:
    """Those that it is cited by, and those of its file where it is the only class of it."""
    public = CLASSES[name]
    papers = set(getattr(public, "papers", ()))
    if HOMES[public.__module__] == 1:
        papers |= set(PAPER.findall(sys.modules[public.__module__].__doc__ or ""))
    text = inspect.getdoc(public) or ""
    assert [paper for paper in papers if paper not in text] == []
