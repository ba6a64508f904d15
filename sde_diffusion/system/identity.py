"""What a component is, by name and fields, wherever its class stands.

Cells, parts, runs and output folders are recognised by content. A class path in that content would
make a stranger of every unfinished run as soon as a module moves: the name of the class stands for
it, with its package where that is another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

OURS = "sde_diffusion"
TARGET = "_target_"
COMPONENT = "component"
# Class paths that earlier revisions wrote into files, of classes that have another name now.
RENAMED = {
    "sde_diffusion.weighting.EDM": "EDMWeighting",
    "sde_diffusion.weighting.Likelihood": "LikelihoodWeighting",
    "sde_diffusion.weighting.MinSNR": "MinSNRWeighting",
    "sde_diffusion.weighting.Published": "PublishedWeighting",
    "sde_diffusion.weighting.Uncertainty": "UncertaintyWeighting",
}


def component(path: str) -> str:
    """The name of the component at a class path: ``UniPC``, or ``fancy:Midpoint`` of another
    package."""
    if path in RENAMED:
        return RENAMED[path]
    package, name = path.split(".")[0], path.rpartition(".")[2]
    return name if package == OURS else f"{package}:{name}"


def identity(value: Any) -> Any:
    """``value``, plain containers, with the component's name in the place of each class path."""
    if isinstance(value, Mapping):
        renamed = {COMPONENT: component(str(value[TARGET]))} if TARGET in value else {}
        return renamed | {k: identity(v) for k, v in value.items() if k != TARGET}
    if isinstance(value, list | tuple):
        return [identity(entry) for entry in value]
    return value


def digest(value: Any) -> str:
    """First 10 hex digits of the SHA-256 of the identity of plain containers."""
    text = json.dumps(identity(value), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
