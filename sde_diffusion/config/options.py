"""Keywords of the library: a component by name or as an object, its fields as GROUP__FIELD."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sde_diffusion.config import groups, renamed, samplers
from sde_diffusion.config.synonyms import SCALE, key_meant
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import TARGET

EXAMPLES = {"solver": "solver__order=3", "guidance": "guidance__cfg__scale=3"}
IN_PYTHON = 'guidance="cfg", guidance__cfg__scale=3'  # SCALE


@dataclass(frozen=True)
class Options:
    """Fields by group: ``solver__order=3`` is {"solver": {"order": 3}}."""

    fields: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls, keywords: Mapping[str, Any], takes: Collection[str], words: Collection[str] = ()
    ) -> Options:
        """The fields that keywords give to the groups that a call ``takes``; no other is let in.

        ``words`` are the other keywords of the call, for one that is misspelt.
        """
        fields: dict[str, dict[str, Any]] = {}
        for keyword, value in keywords.items():
            key = keyword.replace("__", ".")
            name = renamed.now(key) or key
            if name != key:
                renamed.tell(f"{key} is called {name} now: give {name.replace('.', '__')}")
            group, _, field = name.partition(".")
            if group not in takes or not field:
                raise unknown_keyword(keyword, group, takes, words)
            fields.setdefault(group, {})[field] = value
        return cls(fields)

    def beside(self, preset: samplers.Chosen) -> Options:
        """The same, with the fields of a sampler's name where no others were given."""
        usual = {"solver": preset.solver_fields, "grid": preset.grid_fields}
        fields = dict(self.fields)
        for group, defaults in usual.items():
            if defaults:
                fields[group] = {**defaults, **fields.get(group, {})}
        return Options(fields)

    def one(self, group: str, choice: Any) -> Any:
        """The component of a group: ``choice``, with the fields that were given beside it."""
        return _with(group, choice, self.fields.get(group, {}), group)

    def several(self, group: str, choices: Any, key: str | None = None) -> list[Any]:
        """The components of a list, whose fields are given as GROUP__NAME__FIELD.

        ``key`` is what the keyword is called, where that is not the group.
        """
        key = key or group
        if choices is None:
            choices = []
        elif isinstance(choices, str) or not isinstance(choices, Sequence):
            choices = [choices]
        names = [choice for choice in choices if isinstance(choice, str)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"{key}: {twice} is given twice; give it once")
        fields_of: dict[str, dict[str, Any]] = {}
        for word, value in self.fields.get(key, {}).items():
            name, _, field = word.partition(".")
            if name not in choices or not field:
                is_choice = name in groups.names(group)
                raise InputError(
                    f"{key}__{word.replace('.', '__')}: {name} is not among {key}={choices}, so "
                    f"it would change nothing; {f'give {name} there, or ' if is_choice else ''}"
                    "leave it out"
                )
            fields_of.setdefault(name, {})[field] = value
        return [
            _with(group, choice, fields_of.get(choice, {}) if isinstance(choice, str) else {}, key)
            for choice in choices
        ]


def _with(group: str, choice: Any, fields: Mapping[str, Any], key: str) -> Any:
    if fields and not isinstance(choice, str):
        names = ", ".join(f"{key.replace('.', '__')}__{name}" for name in fields)
        raise InputError(f"{names}: {key} is an object already; give it its fields")
    if not isinstance(choice, str):
        return groups.resolve(group, choice, key)
    return groups.resolve(group, {choice: _nested(group, choice, fields, key)}, key)


def _nested(group: str, choice: str, fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Fields of which those of a part, ``inner.order``, have become the part."""
    whole = {name: value for name, value in fields.items() if "." not in name}
    below: dict[str, dict[str, Any]] = {}
    for word, value in fields.items():
        part, _, field = word.partition(".")
        if field and groups.part_group(group, part) is None:
            whole[word] = value  # refused by its name
        elif field:
            below.setdefault(part, {})[field] = value
    for part, part_fields in below.items():
        present = whole.get(part, groups.node(group, choice).get(part))
        if isinstance(present, Mapping) and TARGET in present:  # what the yaml has there
            whole[part] = {**present, **part_fields}
        else:
            whole[part] = _with(
                str(groups.part_group(group, part)), present, part_fields, f"{key}.{part}"
            )
    return whole


def unknown_keyword(
    keyword: str, near: str, takes: Collection[str], words: Collection[str]
) -> InputError:
    """The refusal of a keyword that is none of ``words``, nor a field of a group of ``takes``."""
    scale = [SCALE] if "guidance" in takes else []
    hint = key_meant(near, [*takes, *words, *scale]).replace(SCALE, IN_PYTHON)
    if not takes:
        return InputError(f"{keyword}: unknown keyword; {hint}give {', '.join(words)}")
    shown = [example for group, example in EXAMPLES.items() if group in takes]
    first = shown[0] if shown else f"{sorted(takes)[0]}__FIELD=VALUE"
    return InputError(
        f"{keyword}: unknown keyword; {hint}fields of {', '.join(sorted(takes))} are given as "
        f"{first}, say"
    )


def default_grid(solver: Any) -> str | None:
    """The name of the grid that goes with a solver: a name, {name: fields}, or an object."""
    if isinstance(solver, Mapping):
        solver = next(iter(solver))
    name = solver if isinstance(solver, str) else groups.named("solver", solver)
    return None if name is None else groups.brings("solver", name).get("grid")
