"""The command line's config, composed by Hydra. Imports no torch, so that ``--help`` is quick."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sde_diffusion.config import groups, renamed, schema
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.config.packages import find_packages
from sde_diffusion.config.synonyms import SCALE, key_meant, keys_of
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import TARGET
from sde_diffusion.system.spelling import did_you_mean

ROOT = "config"
RECIPE = "experiment="
RECIPES = ("experiment", "launch", "method", "search")  # whose keys are those of the config
LISTS = ("augment", "guidance", "metric")  # groups of which several are chosen
# What must be installed for a choice of Hydra's own groups: a launcher, who chooses the jobs.
PLUGINS = {
    "hydra/launcher/joblib": "hydra-joblib-launcher",
    "hydra/launcher/submitit_local": "hydra-submitit-launcher",
    "hydra/launcher/submitit_slurm": "hydra-submitit-launcher",
    "hydra/launcher/ray": "hydra-ray-launcher",
    "hydra/sweeper/optuna": "hydra-optuna-sweeper",
}
FRECHET = "the Fréchet distance is always measured, FID's by extractor=inception; "
FOLDER = "hydra.run.dir"  # of results
T = TypeVar("T")


def folders() -> list[Path]:
    """The folders that the running command reads besides ours: --config-dir, plug-ins."""
    sources = HydraConfig.get().runtime.config_sources
    return [Path(s.path) for s in sources if s.schema == "file" and s.path != conf_dir()]


def one_line(error: BaseException, words: Sequence[str] = ()) -> str:
    """The message of a Hydra or OmegaConf error, in one line that names the key.

    ``words`` are the overrides that led to it, for a key that is misspelt.
    """
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    key = next((str(k) for e in reversed(chain) if (k := getattr(e, "full_key", None))), "")
    text = str(chain[0]).replace(chr(9), " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [x for x in lines if not x.startswith(("full_key:", "object_type=", "reference_type="))]
    message = "; ".join(lines)
    if (missing := re.search(r"Could not (?:find|load) '([\w@./]+)/(\S+?)'", message)) is not None:
        options = re.search(r"Available options in '[^']*':;(.*?)(; Config search path|$)", message)
        return _no_such_choice(missing[1], missing[2], options[1] if options else "")
    if (unknown := UNKNOWN.search(message)) is not None:
        name = unknown[1] or key
        if (recipe := _recipe_of_another(name, words)) is not None:
            return recipe
        return f"{name}: unknown key here; {_hint(name, words)}"
    for pattern, remedy in STUMBLES:
        if (match := pattern.search(message)) is not None:
            return match.expand(remedy)
    if "nterpolation key" in message and ESCAPED not in message:
        message += ESCAPED
    if key and not message.startswith(key):
        message = f"{key}: {message}"
    return message


# What the composer says of marks before a key and of a yaml, and what to do about it.
STUMBLES = (
    (
        re.compile(r"Could not delete from config.*?'([^']+)' does not exist"),
        r"~\1: there is no such key to take away; leave ~\1 out",
    ),
    (
        re.compile(r"Could not append to config.*?already at '([^']+)'"),
        r"+\1: is there already; give \1=VALUE, without +",
    ),
    (
        re.compile(r"Multiple values for ([\w/]+)\."),
        r"\1: chosen twice; give \1=NAME, in a yaml's defaults '- override /\1: NAME'",
    ),
    (
        re.compile(r"Additional config directory '(.+)' not found"),
        r"--config-dir=\1: no such folder; give one",
    ),
    (
        re.compile(r"Cannot find primary config '(.+?)'"),
        r"--config-name=\1: not found; leave it out, and give --config-dir=FOLDER experiment=NAME",
    ),
    (
        re.compile(r"Error merging override (hydra\.(?:run|sweep)\.(?:sub)?dir)=(.*)"),
        r"\1=\2: no path; give a folder, \1=FOLDER",
    ),
    (
        re.compile(r"In '([\w/.-]+)': \w+ raised while composing config:; (.*)"),
        r"\1: its yaml does not fit (\2); make it lines of KEY: VALUE",
    ),
)
ESCAPED = r"; where ${ is text, put a backslash before it: '\${'"
UNKNOWN = re.compile(r"Could not override '([^']+)'|is not in struct")


def _no_such_choice(group: str, name: str, listed: str) -> str:
    if (package := PLUGINS.get(f"{group}/{name}")) is not None:
        return f"{group}={name}: not installed; pip install {package}"
    options = [word.strip() for word in listed.split(";") if word.strip()]
    near = FRECHET if group == "metric" and name.lower() in ("fid", "fd") else ""
    near = near or did_you_mean(name, options)
    choices = ", ".join(options) or "those that --help lists"
    return f"{group}={name}: no such choice; {near}choose one of {choices}"


def _recipe_of_another(name: str, words: Sequence[str]) -> str | None:
    """What to say of a recipe that chooses ``name`` where nobody typed it and the task has none;
    None if that is not so."""
    recipe = next((word for word in words if word.startswith(RECIPE)), None)
    typed = [word.partition("=")[0].lstrip("+") for word in words]
    if recipe is None or any(name in (key, key.partition(".")[0]) for key in typed):
        return None
    if renamed.hint(name) is not None:  # an old recipe, of no task as it is
        return None
    others = [word for word in words if word.startswith("task=")]
    task = others[0].removeprefix("task=") if others else "compare"
    takes = [each for each in groups.names("task") if _composes([f"task={each}", recipe])]
    if task in takes:
        return None
    remedy = f"'sde-diffusion {takes[-1]} {recipe}', say" if takes else "leave it out"
    return f"{recipe}: sets {name}, which {task} has not; a recipe of another task, {remedy}"


def _composes(words: Sequence[str]) -> bool:
    try:
        _composed(words)
    except (HydraException, OmegaConfBaseException):
        return False
    return True


def _hint(name: str, words: Sequence[str]) -> str:
    """What to do about an unknown key."""
    if (hint := renamed.hint(name)) is not None:
        return hint
    if "task=compare" in words and name.partition(".")[0] == "solver":
        return _as_entry(words)
    others = [word for word in words if word.partition("=")[0].lstrip("+~") != name]
    keys = _keys(others)
    parent, _, field = name.rpartition(".")
    group, _, choice = parent.partition(".")
    if group in LISTS and parent not in keys and choice in groups.names(group):
        return f"{choice} is not chosen; give {group}={choice} too"
    if parent == "solver" and parent not in keys and "solvers" in keys:
        return f"give it to one of solvers: 'solvers=[{{LABEL:{{solver:NAME,{field}:VALUE}}}}]'"
    if parent == "grid" and parent not in keys and "solvers" in keys:
        return f"each solver has its own grid here; give one for all, grid=NAME {name}=VALUE"
    if parent in keys:
        below = (key.removeprefix(f"{parent}.") for key in keys if key.startswith(f"{parent}."))
        takes = {key for key in below if "." not in key}
        if field in takes:  # of a sweep, or of another choice than the usual one
            return f"not each that is chosen has it{_of_others(parent, field)}; give those alone"
        return schema.known(parent, field, takes - {TARGET}) + _of_others(parent, field)
    near = key_meant(name, [*keys, *_guided(name, keys, others), FOLDER])
    task = next((word[5:] for word in words if word.startswith("task=")), "compare")
    return f"{near}'sde-diffusion {task} --help' lists the keys of this task"


def _of_others(parent: str, field: str) -> str:
    """Which choices have a field that what was chosen for ``parent`` has not."""
    group, _, part = parent.partition(".")
    key = group if group in LISTS else parent
    kind = groups.part_group(group, part) if part and key == parent else group
    names = () if kind is None else groups.names(kind)
    having = [name for name in names if field in groups.node(kind or "", name)]
    return f"; {field} is of {key}={'|'.join(having)}" if having else ""


def _guided(name: str, keys: Sequence[str], words: Sequence[str]) -> list[str]:
    """The scale of guidance as it is typed where none is chosen yet, if ``name`` is a word for it
    and the task of ``words`` has guidance."""
    if SCALE in keys or not keys_of(name, [SCALE]) or SCALE not in _keys([*words, "guidance=cfg"]):
        return []
    return [f"guidance=cfg {SCALE}"]


def _as_entry(words: Sequence[str]) -> str:
    """What to type of the solver that ``words`` give to a comparison, which has several."""
    settings = dict(word.partition("=")[::2] for word in words if re.match(r"solver[.=]", word))
    chosen = settings.pop("solver", None)
    fields = {key.removeprefix("solver."): value for key, value in settings.items()}
    if chosen is None:
        takes = [n for n in groups.names("solver") if set(fields) <= set(groups.node("solver", n))]
        chosen = "unipc" if "unipc" in takes or not takes else takes[0]
    entry = ",".join(f"{key}:{value}" for key, value in {"solver": chosen, **fields}.items())
    return f"a comparison has a list of them; type 'solvers=[{{mine:{{{entry}}}}}]'"


def _keys(words: Sequence[str]) -> list[str]:
    """The keys of the config that ``words`` compose, or else that their task has."""
    choices = [word for word in words if "." not in word.partition("=")[0]]
    for chosen in (words, choices, [word for word in words if word.startswith("task=")]):
        try:
            return list(_flat(OmegaConf.to_container(_composed(chosen))))
        except (HydraException, OmegaConfBaseException):
            continue
    return []


def _flat(content: Any, key: str = "") -> Iterator[str]:
    for name, value in content.items() if isinstance(content, dict) else ():
        yield f"{key}{name}"
        yield from _flat(value, f"{key}{name}.")


def compose_task(overrides: Sequence[str]) -> DictConfig:
    """The config that the command line ``overrides`` would give; works inside a Hydra job too."""
    words = renamed.modern(overrides)
    try:
        return _composed(words)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(one_line(error, words)) from error


def _composed(words: Sequence[str]) -> DictConfig:
    find_packages()
    if GlobalHydra.instance().is_initialized():
        return compose(ROOT, list(words))
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose(ROOT, list(words))


def plain(config: Any) -> Any:
    """A config as plain resolved Python containers, for JSON and trackers."""
    if not OmegaConf.is_config(config):
        return config
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=False)


def build(config: Any, key: str, wanted: type[Any] | None = None, **extra: Any) -> Any:
    """The component at key ``key`` of a composed config: ``groups.build`` of its node."""
    try:
        return groups.build(plain(config), key, wanted, **extra)
    except OmegaConfBaseException as error:
        raise InputError(one_line(error)) from error


def read(config: DictConfig, fields: type[T], *others: str) -> T:
    """The task's own keys as an instance of the dataclass ``fields``; InputError names a key.

    Keys that are neither fields nor groups nor ``others`` are refused.
    """
    besides = {path.name for path in Path(conf_dir()).iterdir() if path.is_dir()}
    for recipe in RECIPES:
        if isinstance(below := config.get(recipe), DictConfig) and below:
            raise InputError(
                f"{recipe}: its yaml sets {', '.join(map(str, below))} below itself, where nothing "
                "reads it; make '# @package _global_' its first line, with nothing before it"
            )
    for key in config:
        if (hint := renamed.hint(str(key))) is not None:
            raise InputError(f"{key!s}: {hint}")
    keys = [str(key) for key in config if key not in {*besides, *others, "hydra"}]
    try:
        values = {
            key: schema.MISSING if OmegaConf.is_missing(config, key) else plain(config[key])
            for key in keys
        }
    except OmegaConfBaseException as error:
        raise InputError(one_line(error)) from error
    return schema.read(values, fields)
