"""From the names of an authors' state dict to those of our published U-Nets, unit by unit.

All of these networks are the same list of units in the order of the forward pass; a source says
what its authors call each unit, and the weights follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sde_diffusion.errors import InputError

State = dict[str, Tensor]
# What files of trainings call their weights, averages first.
HOLDERS = (
    "ema",
    "ema_model",
    "model_ema",
    "ema_state_dict",
    "state_dict_ema",
    "model",
    "state_dict",
    "model_state_dict",
    "net",
)
AVERAGED = "ema_model."  # before the names of an average, in one dictionary with others
COUNTERS = ("n_averaged", "initted", "step")
UPWARD = 1000  # added to the place of a block on the way up


class Unit(NamedTuple):
    """A layer or block on the way of the forward pass.

    Attributes:
        kind: stem, down, inlet, block, middle, up or outlet.
        name: what our network calls it. level: its resolution, 0 the finest. place: within it.
        attends: whether attention stands at its end.
    """

    kind: str
    name: str
    level: int
    place: int = 0
    attends: bool = False


def units(shapes: Mapping[str, torch.Size]) -> Iterator[Unit]:
    """The units of a ``PublishedUNet`` by the names of its weights, but for head and embedding."""
    names = list(shapes)

    def count(prefix: str) -> int:
        stems = {name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)}
        return len(stems)

    def unit(kind: str, name: str, level: int, place: int = 0) -> Unit:
        return Unit(kind, name, level, place, f"{name}.attention.qkv.weight" in shapes)

    levels, inlets, outlets = count("down."), count("inlets."), count("outlets.")
    yield Unit("stem", "stem", 0)
    for level in range(levels):
        turns = int(level > 0)
        if turns:
            yield unit("down", f"down.{level}.0", level)
            if inlets:
                yield Unit("inlet", f"inlets.{level - 1}", level)
        for k in range(count(f"down.{level}.") - turns):
            yield unit("block", f"down.{level}.{k + turns}", level, k)
    for k in range(2):
        yield unit("middle", f"middle.{k}", levels - 1, k)
    for stage, level in enumerate(reversed(range(levels))):
        turns = int(stage > 0)
        if turns:
            yield unit("up", f"up.{stage}.0", level)
        for k in range(count(f"up.{stage}.") - turns):
            yield unit("block", f"up.{stage}.{k + turns}", level, k + UPWARD)
        if level == 0 or outlets:
            yield Unit("outlet", "" if level == 0 else f"outlets.{stage}", level)


def weights_of(content: Any, whose: str) -> tuple[State, str]:
    """The weights by name in a torch file, averaged ones before others, and which they are.

    A dictionary of tensors, or one that holds such a dictionary by a name of ``HOLDERS``; what a
    parallel training, a compiler, Lightning and the like put before every name is left out.
    InputError, which names ``whose`` file to give, for anything else.
    """
    key = next((k for k in HOLDERS if isinstance(content, Mapping) and k in content), "")
    state = content[key] if key else content
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"is no dictionary of weights; give a file of {whose}")
    named = {str(name): value for name, value in state.items() if name not in COUNTERS}
    inner = {k: v for k, v in named.items() if k.startswith(AVERAGED)}
    if inner:  # of both in one dictionary
        named, key = inner, AVERAGED.rstrip(".")
    return unwrapped(named), key or "all"


def unwrapped(named: State) -> State:
    """The same without what stands before every name: no network has one layer that holds all."""
    while len({name.split(".")[0] for name in named}) == 1 and all("." in name for name in named):
        named = {name.split(".", 1)[1]: value for name, value in named.items()}
    return named


class Taker:
    """Takes tensors out of a foreign state, and knows at the end what was left there."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.left, self.seen = dict(state), frozenset(state)
        self.taken: State = {}

    def take(self, ours: str, theirs: str, parts: tuple[str, ...] = ("weight", "bias")) -> None:
        """``theirs.weight`` as ``ours.weight`` and so on, in float32."""
        for part in parts:
            self.taken[f"{ours}.{part}"] = self.pop(f"{theirs}.{part}")

    def pop(self, name: str) -> Tensor:
        """A tensor of the foreign state, in float32; InputError if it is not there."""
        if name not in self.left:
            raise InputError(f"weights have no {name}; is the file of another network?")
        return self.left.pop(name).float()

    def forget(self, *endings: str) -> None:
        """Leave out what is no weight of the function: constants, heads of training."""
        self.left = {k: v for k, v in self.left.items() if not k.endswith(endings)}

    def finish(self, shapes: Mapping[str, torch.Size]) -> State:
        """What was taken, if it fits our network and nothing is left; InputError names what not."""
        if self.left:
            raise InputError(
                f"weights {next(iter(self.left))} and {len(self.left) - 1} more are of no layer "
                "that the file's arguments name; is the file of another network?"
            )
        for name, shape in shapes.items():
            value = self.taken.get(name)
            if value is None or value.shape != shape:
                size = "missing" if value is None else f"of shape {tuple(value.shape)}"
                raise InputError(f"weight {name} is {size}, not of shape {tuple(shape)}")
        return {name: self.taken[name].contiguous() for name in shapes}


def split_qkv(weight: Tensor, heads: int, order: str) -> Tensor:
    """Rows [3C, ...] of q, k and v, brought to our order: qkv, head, channel.

    Args:
        order: ``head-channel-qkv`` (EDM), ``head-qkv-channel`` (ADM) or ``qkv-head-channel``.
    """
    if order == "qkv-head-channel":
        return weight
    if weight.shape[0] % (3 * heads):
        raise InputError(
            f"heads={heads}: do not divide {weight.shape[0] // 3} channels of attention; give "
            "another number"
        )
    c = weight.shape[0] // (3 * heads)
    if order == "head-channel-qkv":
        rows = weight.reshape(heads, c, 3, *weight.shape[1:]).movedim(2, 0)
    else:
        rows = weight.reshape(heads, 3, c, *weight.shape[1:]).movedim(1, 0)
    return rows.reshape(weight.shape)
