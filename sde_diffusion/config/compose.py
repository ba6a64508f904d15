"""From names and yaml to checked components. Imports no torch, so that ``--help`` is quick.

A yaml may name only classes and functions of this package, and of installed packages that
declare an entry point in the group ``sde_diffusion.components`` or ``sde_diffusion.networks``.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import digest

ENTRY_POINTS = ("sde_diffusion.components", "sde_diffusion.networks")
ROOT = "config"


def conf_dir() -> str:
    """The folder of the yaml files: inside an installed package, beside a source checkout."""
    here = Path(__file__).resolve().parents[1]
    return str(here / "conf" if (here / "conf").is_dir() else here.parent / "conf")


def one_line(error: BaseException) -> str:
    """The message of a Hydra or OmegaConf error, in one line that names the key."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    key = next((str(k) for e in reversed(chain) if (k := getattr(e, "full_key", None))), "")
    text = str(chain[0]).replace(chr(9), " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [x for x in lines if not x.startswith(("full_key:", "object_type=", "reference_type="))]
    message = "; ".join(lines)
    if (missing := re.search(r"Could not (?:find|load) '([\w@.]+)/(\S+?)'", message)) is not None:
        group, name = missing.groups()
        known = re.search(r"Available options in '[^']*':;(.*?)(; Config search path|$)", message)
        choices = known[1].strip(" ;").replace(";", ",") if known else "those that --help lists"
        return f"{group}={name}: no such choice; choose one of {choices}"
    if "Could not override" in message or "is not in struct" in message:
        name = lines[0].split("'")[1] if "'" in lines[0] else key
        return f"{name}: unknown key here; 'sde-diffusion TASK --cfg job' lists the keys of a task"
    if key and not message.startswith(key):
        message = f"{key}: {message}"
    return message


def compose_task(overrides: Sequence[str]) -> DictConfig:
    """The config that the command line ``overrides`` would give; works inside a Hydra job too."""
    try:
        if GlobalHydra.instance().is_initialized():
            return compose(ROOT, list(overrides))
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            return compose(ROOT, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(one_line(error)) from error


def job_digest(config: DictConfig) -> str:
    """The digest of a job's config, tracker and Hydra left out: it names the output folder."""
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    return digest({k: v for k, v in content.items() if k not in ("hydra", "tracker")})


@cache
def trusted_packages() -> frozenset[str]:
    """Top-level packages whose classes a yaml may name; read once, from every installed package."""
    points = [point for group in ENTRY_POINTS for point in entry_points(group=group)]
    return frozenset({"sde_diffusion", *(point.module.split(".")[0] for point in points)})


def locate(target: str, key: str) -> Any:
    """The class or function a ``_target_`` names; InputError unless a trusted package's own."""
    trusted = trusted_packages()
    refusal = InputError(
        f"{key}._target_={target}: not a class of {', '.join(sorted(trusted))}; "
        f"other packages declare the entry point {ENTRY_POINTS[0]}"
    )
    if target.split(".")[0] not in trusted:
        raise refusal
    try:
        found = get_object(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{key}._target_={target}: {one_line(error)}") from error
    # A trusted module also holds what it imports (os, torch): only its own things count.
    if not callable(found) or str(getattr(found, "__module__", "")).split(".")[0] not in trusted:
        raise refusal
    return found


_PLAIN = (int, float, bool, str)


def _field_type(annotation: Any) -> Any:
    """An annotation as OmegaConf can check it; Any where it cannot."""
    if annotation in _PLAIN:
        return annotation
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        plain = [a for a in args if a is not type(None)]
        if len(plain) == 1 and plain[0] in _PLAIN and len(args) == 2:
            return plain[0] | None
    if origin is not None and args and args[0] in _PLAIN and origin in (list, Sequence):
        return list[args[0]]  # type: ignore[valid-type]
    return Any


WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def _wanted(annotation: Any) -> str:
    """What to give for a value of this type, for an error message."""
    args = typing.get_args(annotation)
    plain = next((a for a in (annotation, *args) if a in _PLAIN), None)
    null = ", or null" if type(None) in args else ""
    if plain is None:
        # What is left are lists: of anything, or optional ones.
        inner = next((a for a in args if typing.get_origin(a) is list), None)
        return "a list, [A,B]" if inner is None else f"{_wanted(inner)}{null}"
    if typing.get_origin(annotation) is list:
        return f"a list of {WORDS[plain]}s, [A,B]"
    return f"{'' if plain in (bool, str) else 'a '}{WORDS[plain]}{null}"


def parameters(target: Any) -> dict[str, inspect.Parameter]:
    """Constructor (or function) parameters by name, without self."""
    found = inspect.signature(target).parameters
    return {
        name: p for name, p in found.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }


def _nodes(node: DictConfig | ListConfig, key: str) -> Iterator[tuple[str, DictConfig]]:
    """Every mapping below ``node``, itself first, that names a ``_target_``."""
    if OmegaConf.is_dict(node) and "_target_" in node:
        yield key, typing.cast(DictConfig, node)
    names: Any = node.keys() if OmegaConf.is_dict(node) else range(len(node))
    for name in names:
        if not OmegaConf.is_missing(node, name):
            child = node[name]
            if OmegaConf.is_config(child):
                yield from _nodes(child, f"{key}.{name}")


def _check_types(node: DictConfig, key: str, given: set[str]) -> None:
    """Names and types of one node's keys against the signature of its target."""
    target = locate(str(node._target_), key)
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    allowed = {n: _field_type(hints.get(n, Any)) for n in parameters(target) if n not in given}
    for name in node:
        if name not in allowed and name != "_target_":
            raise InputError(f"{key}.{name!s}: unknown key; {key} takes {sorted(allowed)}")
    schema = dataclasses.make_dataclass("Schema", list(allowed.items()))
    for name in (n for n in node if n in allowed):  # "in node" is False where a value is missing
        if OmegaConf.is_missing(node, name):
            raise InputError(f"{key}.{name}: required here; give {key}.{name}=...")
        try:
            OmegaConf.merge(OmegaConf.structured(schema), {name: node[name]})
        except OmegaConfBaseException as error:
            wanted = _wanted(allowed[str(name)])
            raise InputError(f"{key}.{name}={node[name]}: give {wanted}") from error


def build(node: Any, key: str, base: type | None = None, **extra: Any) -> Any:
    """Instantiate the component at config key ``key``, with ``extra`` arguments not in the yaml.

    Every ``_target_`` below is checked first: trusted, keys known, plain types right. With
    ``base`` the outer one must derive from it. InputError names the key and the remedy.
    """
    if not OmegaConf.is_dict(node) or "_target_" not in node:
        raise InputError(f"{key}={node}: not a component; choose one with {key}=NAME")
    try:
        for path, child in _nodes(node, key):
            _check_types(child, path, set(extra) if path == key else set())
        target = locate(str(node._target_), key)
        if base is not None and not (inspect.isclass(target) and issubclass(target, base)):
            raise InputError(f"{key}._target_={node._target_}: not a {base.__name__}")
        return instantiate(node, **extra)
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}: required; give {error.full_key}=...") from error
    except HydraException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        raise (cause or InputError(f"{key}: {one_line(error)}")) from error
    except OmegaConfBaseException as error:
        raise InputError(one_line(error)) from error


def read(config: DictConfig, schema: type, *others: str) -> Any:
    """The task's own keys as an instance of the dataclass ``schema``; InputError names a key.

    Keys that are neither fields nor groups nor ``others`` are refused.
    """
    names = [field.name for field in dataclasses.fields(schema)]
    groups = {path.name for path in Path(conf_dir()).iterdir() if path.is_dir()}
    for key in config:
        if key not in {*names, *others, *groups, "hydra"}:
            known = sorted([*names, *others])
            raise InputError(f"{key!s}: unknown key here; this task takes {known}")
        if key in names and OmegaConf.is_missing(config, key):
            raise InputError(f"{key!s}: required; give {key!s}=...")
    try:
        picked = {name: config[name] for name in names if name in config}
        merged = OmegaConf.merge(OmegaConf.structured(schema), picked)
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = re.split(r"[.\[]", str(error.full_key))[0]
        wanted = _wanted(typing.get_type_hints(schema)[key])
        raise InputError(f"{key}={config[key]}: give {wanted}") from error


def plain(config: Any) -> Any:
    """A config as plain resolved Python containers, for JSON and trackers."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
