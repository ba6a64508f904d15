"""From the names of an authors' state dict to those of our published U-Nets, unit by unit.

All of these networks are the same list of units in the order of the forward pass; a source says
what its authors call each unit, and the weights follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sde_diffusion.errors import InputError

State = dict[str, Tensor]
# What files of trainings call their weights, averages first; others are taken where they are alone.
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
AVERAGE = re.compile(r"(^|_)(ema|averaged?|swa)(_|\d|$)", re.IGNORECASE)
WITHIN = ("state_dict", "shadow", "params", "module", "model")  # what a holder may hold them by
# What FSDP, a compiler and checkpoints of activations put before the names of a part of a network.
WRAPPERS = re.compile(r"(^|\.)(_fsdp_wrapped_module|_orig_mod|_checkpoint_wrapped_module)(?=\.)")
COUNTERS = ("n_averaged", "initted", "step", "decay", "num_updates")
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

    A dictionary of tensors, or one that holds such a dictionary; what a parallel training, a
    compiler, Lightning and the like put before every name is left out. InputError, which names
    ``whose`` file to give, for anything else, and for an average that is not by name.
    """
    state, key = state_of(content)
    if state is None:
        raise InputError(f"is no dictionary of weights; give a file of {whose}")
    weights, mark = drawn_of(state)
    return weights, mark or key or "all"


def state_of(content: Any) -> tuple[State | None, str]:
    """The dictionary of tensors that a torch file is, or of those in it the one that is drawn, and
    what it calls that; None where there is none."""
    if _is_state(content):
        return dict(content), ""
    held = dict(content) if isinstance(content, Mapping) else {}
    inside = {str(name): _state_in(value) for name, value in held.items()}
    key = _chosen({name: entries for name, entries in inside.items() if entries}, held)
    return inside.get(key), key


def drawn_of(state: State) -> tuple[State, str]:
    """Of a dictionary of tensors the weights that are drawn, without what was put before their
    names, and what stood before those of an average."""
    named = {str(name): value for name, value in state.items() if name not in COUNTERS}
    averaged, mark = _averaged(named)
    return unwrapped(averaged), mark


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(v, Tensor) for v in value.values())


def _state_in(value: Any) -> State | None:
    """The weights that an entry of a file is, or holds; None where there are none."""
    if _is_state(value):
        return dict(value) or None
    for name in WITHIN if isinstance(value, Mapping) else ():
        if value.get(name) and _is_state(value[name]):
            return dict(value[name])
    return None


def _chosen(states: Mapping[str, State], content: Mapping[Any, Any]) -> str:
    """Under which name the weights stand that are drawn, "" for none."""
    for name, value in content.items():
        whole = isinstance(value, Mapping | list | tuple) and len(value) > 0
        if whole and AVERAGE.search(str(name)) and str(name) not in states:
            raise InputError(
                f"its average, {str(name)[:40]}, is no dictionary of weights by name; write it so, "
                "or save what is to be drawn alone"
            )
    averages = [name for name in states if AVERAGE.search(name)]
    for names in (averages, list(states)):
        if holders := [name for name in HOLDERS if name in names]:
            return holders[0]
        if len(names) == 1:
            return names[0]
        if names:
            raise InputError(
                f"holds weights by several names, {', '.join(names)[:80]}; save those that are to "
                "be drawn alone"
            )
    return ""


def _averaged(named: State) -> tuple[State, str]:
    """Of weights and their average in one dictionary the average, and what stood before its names;
    otherwise all, and nothing."""
    first = {name.split(".")[0] for name in named if "." in name}
    marks = sorted(mark for mark in first if AVERAGE.search(mark))
    if not marks or len(first) == 1:
        return named, ""
    before = f"{marks[0]}."
    inner = {k.removeprefix(before): v for k, v in named.items() if k.startswith(before)}
    if any("." in name for name in inner):
        return inner, marks[0]
    # Of latent diffusion: names without their dots, and no buffers.
    others = {k.split(".", 1)[1]: v for k, v in named.items() if not k.startswith(before)}
    flat = {name: inner.get(name.replace(".", ""), value) for name, value in others.items()}
    return flat, marks[0]


def unwrapped(named: State) -> State:
    """The same without what stands before every name: no network has one layer that holds all; and
    without what is put before a part of a network that is sharded or compiled by itself."""
    named = {WRAPPERS.sub("", name).removeprefix("."): value for name, value in named.items()}
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

    def take_each(self, ours: str, theirs: str, layers: Mapping[str, str]) -> None:
        """The layers of a block, by our name of each and theirs."""
        for mine, layer in layers.items():
            self.take(f"{ours}.{mine}", f"{theirs}.{layer}")

    def pop(self, name: str) -> Tensor:
        """A tensor of the foreign state, in float32; InputError if it is not there."""
        if name not in self.left:
            raise InputError(f"weights have no {name}; is the file of another network?")
        if not self.left[name].is_floating_point():
            raise InputError(
                f"weight {name} is {str(self.left[name].dtype).removeprefix('torch.')}: quantised, "
                "or no weight; give them as they were before"
            )
        return self.left.pop(name).float()

    def forget(self, *endings: str) -> None:
        """Leave out what is no weight of the function: constants, heads of training."""
        self.left = {k: v for k, v in self.left.items() if not k.endswith(endings)}

    def finish(self, shapes: Mapping[str, torch.Size]) -> State:
        """What was taken, if it fits our network and nothing is left; InputError names what not."""
        if self.left:
            more = f" and {len(self.left) - 1} more are" if len(self.left) > 1 else " is"
            raise InputError(
                f"weight {next(iter(self.left))}{more} of no layer that the file's arguments name; "
                "is the file of another network?"
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
