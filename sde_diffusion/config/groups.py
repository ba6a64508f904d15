"""Names and fields -> components, with no command line: what ``conf/GROUP/NAME.yaml`` says.

A yaml names a class by ``_target_`` and lists every argument of its constructor. ``build`` makes
the object of such a node, ``make`` that of a name and fields, ``resolve`` takes either, or an
object as it is; it is one and the same way through all three.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from sde_diffusion.config import yaml_files
from sde_diffusion.config.schema import (
    ENTRY_POINTS,
    MISSING,
    NETWORKS,
    component_of,
    converted,
    hints,
    items_of,
    located,
    unknown,
)
from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.identity import TARGET, Component, parameters
from sde_diffusion.system.names import OURS
from sde_diffusion.system.names import component as component_name
from sde_diffusion.system.ranges import FieldError
from sde_diffusion.system.spelling import did_you_mean

# What the components of each group derive from.
BASES = {
    "augment": "training.augment.Augment",
    "data": "data.base.DataSource",
    "ema": "training.ema.EMA",
    "extractor": "metrics.extractors.base.Extractor",
    "grid": "process.grids.TimeGrid",
    "guidance": "guidance.base.Guidance",
    "levels": "training.levels.NoiseLevels",
    "metric": "metrics.base.Metric",
    "network": "networks.registry.Network",
    "noise": "process.noise.NoiseSource",
    "operator": "operators.base.Operator",
    "parameterization": "denoisers.parameterization.Parameterization",
    "schedule": "training.schedule.Schedule",
    "sde": "process.sde.SDE",
    "solver": "solvers.base.Solver",
    "tracker": "system.tracking.Tracker",
    "weighting": "training.weighting.Weighting",
}
# Arguments that no yaml lists, since the data give them.
FROM_DATA = {"network": ("channels", "classes", "augment", "text", "layout", "reference")}
# Folders that one command has besides, such as those of --config-dir.
_more: ContextVar[tuple[Path, ...]] = ContextVar("folders", default=())


@cache
def conf_dir() -> str:
    """The folder of our yaml files: inside an installed package, beside a source checkout."""
    here = Path(__file__).resolve().parents[1]
    return str(here / "conf" if (here / "conf").is_dir() else here.parent / "conf")


@cache
def packages() -> dict[str, Path]:
    """The ``conf`` folders of installed packages that declare our entry points, by package."""
    names = {point.module.split(".")[0] for g in ENTRY_POINTS for point in entry_points(group=g)}
    places: dict[str, Path] = {}
    for name in sorted(names - {OURS}):
        spec = importlib.util.find_spec(name)  # of a top-level package: nothing is run
        for place in (spec and spec.submodule_search_locations) or ():
            if Path(place, "conf").is_dir():
                places.setdefault(name, Path(place, "conf"))
    return places


@contextmanager
def searching(folders: Sequence[Path]) -> Iterator[None]:
    """Within the block these folders are read too."""
    token = _more.set(tuple(folders))
    try:
        yield
    finally:
        _more.reset(token)


def _files(group: str) -> dict[str, Path]:
    """The yaml files of a group by name, ours before others'."""
    paths: dict[str, Path] = {}
    for folder in (Path(conf_dir()), *packages().values(), *_more.get()):
        for path in sorted((folder / group).glob("*.yaml")):
            paths.setdefault(path.stem, path)
    return paths


def names(group: str) -> list[str]:
    """Every choice of a group."""
    return sorted({*_files(group), *declared(group)})


def declared(group: str) -> dict[str, EntryPoint]:
    """The choices of a group that installed packages declare by an entry point of their own."""
    points = entry_points(group=NETWORKS) if group == "network" else ()
    return {point.name: point for point in points}


def declared_node(group: str, name: str) -> dict[str, Any]:
    """What a yaml of the choice would say: its class, and the defaults of its constructor."""
    point = declared(group)[name]
    target = f"{point.module}.{point.attr}"
    takes = parameters(located(target, group, base(group)))
    listed = {key: p for key, p in takes.items() if key not in FROM_DATA.get(group, ())}
    fields = {key: MISSING if p.default is p.empty else p.default for key, p in listed.items()}
    return {TARGET: target, **fields}


@cache
def base(group: str) -> type[Component]:
    """What the components of a group derive from."""
    module, _, name = BASES[group].rpartition(".")
    return cast(type[Component], getattr(importlib.import_module(f"{OURS}.{module}"), name))


def group_of(cls: type) -> str:
    """The group that a component's class belongs to; a KeyError for none."""
    paths = {f"{parent.__module__}.{parent.__qualname__}" for parent in cls.__mro__}
    return next(group for group, path in BASES.items() if f"{OURS}.{path}" in paths)


def node(group: str, name: str, key: str | None = None) -> dict[str, Any]:
    """What the yaml of a choice says; InputError lists the choices for a name that is none."""
    return dict(_read(group, name, key)[0])


def brings(group: str, name: str) -> dict[str, str]:
    """What else a choice brings along, by group: a solver its default grid."""
    return dict(_read(group, name)[1])


def _read(group: str, name: str, key: str | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    files = _files(group)
    if name not in files and name in declared(group):
        return declared_node(group, name), {}
    if name not in files:
        choices = names(group)
        raise InputError(
            f"{key or group}={shown(name)}: no such choice; {did_you_mean(str(name), choices)}"
            f"choose one of {', '.join(choices)}"
        )
    path = files[name]
    return _content(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _content(path: Path, written: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The node of a file, what it builds upon merged in, and what it brings along."""
    content = yaml_files.load(path)
    parts: dict[str, Any] = {}
    along: dict[str, str] = {}
    for entry in content.pop("defaults", []):
        if entry == "_self_":
            continue
        key, value = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if key is None:  # a choice of the same group, whose fields this one changes
            below, more = _read(path.parent.name, value)
            parts, along = {**parts, **below}, {**along, **more}
            continue
        group, _, package = key.removeprefix("/").partition("@")
        if group in BASES and package in (f"_global_.{group}", ""):
            along[group] = value
        elif group in BASES and package.isidentifier():  # of a part of it
            parts[package] = node(group, value)
        else:
            raise InputError(f"{path}: defaults: {key}: only the command line can read that")
    return {**parts, **content}, along


def named(group: str, item: Component | type[Component]) -> str | None:
    """The name of the choice whose class it is; None where no yaml names it."""
    cls = item if isinstance(item, type) else type(item)
    path = f"{cls.__module__}.{cls.__qualname__}"
    return next((name for name in names(group) if node(group, name).get(TARGET) == path), None)


def typed(group: str, component: str) -> str:
    """The choice whose class has that name; the name itself where there is none, or several."""
    if group not in BASES:
        return component
    targets = {name: str(node(group, name).get(TARGET)) for name in names(group)}
    choices = [name for name, path in targets.items() if component_name(path) == component]
    return choices[0] if len(choices) == 1 else component


def choice_of(group: str, item: Component | type[Component]) -> str:
    """The name of the choice whose class it is; InputError where no yaml names it."""
    if (name := named(group, item)) is None:
        cls = item if isinstance(item, type) else type(item)
        raise InputError(f"{group}={cls.__name__}: no yaml of the group {group} names it")
    return name


def part_group(group: str, field: str) -> str | None:
    """The group whose components a field of a group's components holds, as their yamls say."""
    if group not in BASES:
        return None
    for name in names(group):
        value = node(group, name).get(field)
        if isinstance(value, Mapping) and TARGET in value:
            return next((one for one in BASES if value[TARGET] in _targets(one)), None)
    return None


def _targets(group: str) -> list[Any]:
    return [node(group, name).get(TARGET) for name in names(group)]


def make(group: str, choice: str, beside: Mapping[str, Any] | None = None, /, **fields: Any) -> Any:
    """The component ``choice`` of a group, with ``fields`` in the place of those of its yaml.

    ``beside`` are components of other groups, for fields that say ``${GROUP}``.
    """
    return _named(group, choice, fields, group, beside)


def _named(
    group: str, choice: str, fields: Mapping[str, Any], key: str, beside: Mapping[str, Any] | None
) -> Any:
    stated = node(group, choice, key)
    takes = set(stated) - {TARGET}
    for name in fields:
        if name not in takes:
            raise unknown(key, str(name), takes)
    return build({**stated, **fields}, key, base(group), beside)


def resolve(
    group: str, choice: Any, key: str | None = None, beside: Mapping[str, Any] | None = None
) -> Any:
    """The component that ``choice`` is: an object, a name, {name: fields}, or a yaml's node.

    InputError for what is none of these; ``key`` is what a message calls it.
    """
    wanted, key = base(group), key or group
    if isinstance(choice, wanted):
        return choice
    if isinstance(choice, str):
        return _named(group, choice, {}, key, beside)
    if isinstance(choice, Mapping) and TARGET in choice:
        return build(choice, key, wanted, beside)
    if isinstance(choice, Mapping) and len(choice) == 1:
        name, fields = next(iter(choice.items()))
        if fields is None or isinstance(fields, Mapping):
            return _named(group, name, fields or {}, key, beside)
    if inspect.isclass(choice):
        raise InputError(f"{key}={choice.__name__}: a class; give an object, {choice.__name__}()")
    raise InputError(
        f"{key}={shown(choice)}: give one of {', '.join(names(group))}, "
        f"{{NAME: {{FIELD: VALUE}}}}, or an object of {wanted.__name__}"
    )


def build(
    config: Any,
    key: str,
    wanted: type[Any] | None = None,
    beside: Mapping[str, Any] | None = None,
    **extra: Any,
) -> Any:
    """The component of a yaml's node at config key ``key``, with ``extra`` arguments of its own.

    It must derive from ``wanted``, and every component below from what the parameter that it fills
    is annotated with; names and types of all fields are checked first. InputError names the key.
    """
    cls, arguments = read(config, key, wanted, beside, extra)
    try:
        return cls(**arguments, **extra)
    except FieldError as error:
        raise error.of(key) from None
    except InputError:
        raise
    except Exception as error:  # what a constructor finds wrong, in words of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{key}={cls.__name__}: {reason}") from error


def read(
    config: Any,
    key: str,
    wanted: type[Any] | None = None,
    beside: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
) -> tuple[type[Any], dict[str, Any]]:
    """The class and the checked arguments of a yaml's node, of which ``build`` makes the object.

    ``without``: arguments that a yaml does not give.
    """
    if not isinstance(config, Mapping) or TARGET not in config:
        raise InputError(f"{key}={shown(config)}: not a component; choose one with {key}=NAME")
    cls = located(config[TARGET], key, Component if wanted is None else wanted)
    takes = {name: p for name, p in parameters(cls).items() if name not in without}
    arguments: dict[str, Any] = {}
    for name, value in config.items():
        if name == TARGET:
            continue
        if name not in takes:
            raise unknown(key, str(name), takes)
        arguments[name] = _argument(value, hints(cls).get(name, Any), f"{key}.{name}", beside or {})
    for name, p in takes.items():
        if name not in arguments and p.default is p.empty:
            raise InputError(f"{key}.{name}: required; give {key}.{name}=...")
    return cls, arguments


def _argument(value: Any, annotation: Any, key: str, beside: Mapping[str, Any]) -> Any:
    """One argument: a component where the annotation asks for one, else a plain value."""
    if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
        group = value[2:-1]
        if group not in beside:
            raise InputError(f"{key}: required; give {group}=... too")
        value = beside[group]
    if isinstance(value, str) and value == MISSING:
        raise InputError(f"{key}: required here; give {key}=...")
    asked, entries = component_of(annotation), items_of(annotation)
    if asked is not None and value is not None:
        return _component(value, asked, key, beside)
    if entries is not None and component_of(entries) is not None and isinstance(value, Sequence):
        return [_argument(v, entries, f"{key}[{i}]", beside) for i, v in enumerate(value)]
    return converted(value, annotation, key)


def _component(value: Any, asked: type[Any], key: str, beside: Mapping[str, Any]) -> Component:
    """A component within another, of the class that the parameter asks for."""
    part = resolve(group_of(asked), value, key, beside)
    if not isinstance(part, asked):
        raise InputError(f"{key}={type(part).__name__}: not a {asked.__name__}; give one")
    return part
