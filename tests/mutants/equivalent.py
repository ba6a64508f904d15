"""Mutants that are the same solver, each with the reason."""

from __future__ import annotations

# (file, statement before, statement after) -> why nothing can tell the two apart.
EQUIVALENT: dict[tuple[str, str, str], str] = {}
