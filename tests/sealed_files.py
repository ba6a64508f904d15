"""Sealed files with another content, and what 7a19cb7 wrote in their place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sde_diffusion.system.sealed import ENTRY, SealedKind


def content(path: Path) -> dict[str, Any]:
    """The sealed entry of a file: kind, format, facts, checksums."""
    with safe_open(path, framework="pt") as file:
        entry: dict[str, Any] = json.loads(file.metadata()[ENTRY])
    return entry


def resealed(
    path: Path,
    facts: Mapping[str, Any] | None = None,
    tensors: Mapping[str, torch.Tensor] | None = None,
    drop: tuple[str, ...] = (),
    number: int | None = None,
) -> None:
    """Write the file again, wrong but whole: its seal is right.

    ``drop`` leaves facts and tensors out; ``number`` is another format.
    """
    known = content(path)
    kind = SealedKind(known["kind"], number or known["format"], "")
    new_facts = {k: v for k, v in {**known["facts"], **(facts or {})}.items() if k not in drop}
    held = {k: v for k, v in {**load_file(path), **(tensors or {})}.items() if k not in drop}
    kind.write(path, held, new_facts)


def unsealed(path: Path, entry: str, extra: Mapping[str, Any]) -> None:
    """Write the file again as 7a19cb7 did: facts as JSON in a metadata entry of that name."""
    save_file(load_file(path), path, {entry: json.dumps({**content(path)["facts"], **extra})})
