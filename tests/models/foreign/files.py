"""Files in the authors' layouts, with the recorded weights; stand-ins where they hold source."""

from __future__ import annotations

import argparse
import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.models.foreign.records import record


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> Any:
    raise AssertionError("a reader ran a function of the file")


class EasyDict(dict[str, Any]):
    """Pickled as a class of dnnlib."""


class ModuleOf:
    """Pickled as a module of EDM's persistence, without anybody's source."""

    def __init__(self, name: str, state: dict[str, Any]) -> None:
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit",
            "state": state,
        }
        self.meta["class_name"] = name

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,)


@contextmanager
def foreign_names() -> Iterator[None]:
    """The stand-ins under the names of those whom they stand for, while a pickle is written."""
    names = {"torch_utils.persistence": _reconstruct_persistent_obj, "dnnlib.util": EasyDict}
    before = {thing: thing.__module__ for thing in names.values()}
    for module, thing in names.items():
        for path in (module.split(".")[0], module):
            sys.modules[path] = types.ModuleType(path)
        setattr(sys.modules[module], thing.__name__, thing)
        thing.__module__ = module
    try:
        yield
    finally:
        for module, thing in names.items():
            thing.__module__ = before[thing]
            del sys.modules[module], sys.modules[module.split(".")[0]]


def nested(state: dict[str, Tensor], name: str, kwargs: dict[str, Any] | None = None) -> ModuleOf:
    """A state dict as the tree of modules that had it."""
    own = {k: torch.nn.Parameter(v) for k, v in state.items() if "." not in k}
    heads = dict.fromkeys(k.split(".")[0] for k in state if "." in k)
    children = OrderedDict()
    for head in heads:
        inner = {
            k.removeprefix(f"{head}."): v for k, v in state.items() if k.startswith(f"{head}.")
        }
        children[head] = nested(inner, "Layer")
    fields: dict[str, Any] = {"_parameters": OrderedDict(own), "_modules": children}
    fields |= {"_buffers": OrderedDict(), "training": False}
    if kwargs is not None:
        fields |= {"_init_args": (), "_init_kwargs": EasyDict(kwargs), **kwargs}
    return ModuleOf(name, fields)


def edm_pickle(path: Path, name: str) -> Path:
    """A network snapshot of EDM, weights as parameters."""
    facts, state, _ = record(name)
    with foreign_names():
        net = nested(state, facts["class"], facts["kwargs"])
        content = {"ema": net, "loss_fn": None, "dataset_kwargs": EasyDict(path="data")}
        path.write_bytes(pickle.dumps(content))
    return path


def edm_bytes(content: Any) -> bytes:
    """A pickle of anything, with the stand-ins under the names of others."""
    with foreign_names():
        return pickle.dumps(content)


def torch_file(path: Path, content: Any) -> Path:
    """A file of torch.save."""
    torch.save(content, path)
    return path


def legacy_torch_bytes(content: Any) -> bytes:
    """A file of torch.save from before zip."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def namespace(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**values)
