"""What ``record.py`` kept of the authors' networks, and their weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor

from tests.models.foreign.drawn import QUIET, Replay, weights

HERE = Path(__file__).resolve().parent
N, SIDE = 8, 8


class Record(NamedTuple):
    """Arguments of a network, its weights in its authors' names, and what it answered."""

    facts: dict[str, Any]
    state: dict[str, Tensor]
    tensors: dict[str, Tensor]


@cache
def record(name: str) -> Record:
    with safe_open(HERE / f"{name}.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    kept = {k.removeprefix("kept."): v for k, v in tensors.items() if k.startswith("kept.")}
    state = weights(facts["shapes"], kept)
    for name in state:
        if "quiet" in facts and name.startswith(facts["quiet"]):
            state[name] = QUIET * state[name]
    return Record(facts, state, tensors)


def image(channels: int = 3) -> Tensor:
    """The images [8, C, 8, 8] ~ N(0, I) that every network was asked about."""
    return Replay(1)((N, channels, SIDE, SIDE))


def start(channels: int = 3) -> Tensor:
    """The noise [2, C, 8, 8] that every sampler began with."""
    return Replay(2)((2, channels, SIDE, SIDE))
