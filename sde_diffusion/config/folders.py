"""Which output folder a job has: its own by content, or one that an earlier revision named for it.

A folder is called TASK-DIGEST, the digest being of the job's identity: no class path is in it, no
tracker, nothing of Hydra. Earlier revisions had class paths and other keys in theirs; what they
kept in ``.hydra/config.yaml`` is read as this revision would write it, and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from sde_diffusion.config import groups, yaml_files
from sde_diffusion.config.renamed import NETWORKS
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import COMPONENT, TARGET, digest, identity

OUTPUTS = Path("outputs")
APART = ("hydra", "tracker")
PARAMETERIZATIONS = {
    "karras": "KarrasPreconditioning",
    "epsilon": "EpsilonPrediction",
    "v": "VPrediction",
    "flow": "FlowPrediction",
    "x0": "DataPrediction",
    "score": "ScorePrediction",
}


def folder_of(job: Mapping[str, Any]) -> tuple[Path, bool]:
    """The folder of a job (its config, unresolved), and whether an earlier revision named it."""
    content = identity({key: value for key, value in job.items() if key not in APART})
    folder = OUTPUTS / f"{job['task']}-{digest(content)}"
    if not folder.is_dir():
        for path in sorted(OUTPUTS.glob(f"{job['task']}-*")):
            if _is_of(path, content):
                return path, True
    return folder, False


def _is_of(folder: Path, job: Mapping[str, Any]) -> bool:
    """Whether a folder holds the work of this job."""
    try:
        kept = yaml_files.load(folder / ".hydra" / "config.yaml")
        return same(modern(kept), job)
    except (InputError, AttributeError, KeyError, TypeError):  # not ours, torn, or too old
        return False


def same(earlier: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Whether two jobs do the same; a key that the earlier one lacks must have its default."""
    task = yaml_files.load(Path(groups.conf_dir()) / "task" / f"{job['task']}.yaml")
    if not earlier.keys() <= job.keys():
        return False
    return all(
        _equal(earlier[key], value) if key in earlier else _default(task, key) == value
        for key, value in job.items()
    )


def _default(task: Mapping[str, Any], key: str) -> Any:
    """What a key of a task is where a command says nothing: a value, or the choice of a group."""
    for entry in task.get("defaults", ()):
        if isinstance(entry, Mapping) and isinstance(entry.get(f"/{key}"), str):
            return identity(groups.node(key, entry[f"/{key}"]))
    return identity(task.get(key))


def _equal(earlier: Any, now: Any) -> bool:
    """Equal values; a component's new fields are equal where they have their defaults."""
    if not (isinstance(earlier, Mapping) and isinstance(now, Mapping)):
        return bool(earlier == now)
    if not earlier.keys() <= now.keys():
        return False
    new = [key for key in now if key not in earlier]
    usual = _defaults(str(now.get(COMPONENT))) if new else {}
    return all(key in usual and usual[key] == now[key] for key in new) and all(
        _equal(value, now[key]) for key, value in earlier.items()
    )


def _defaults(name: str) -> dict[str, Any]:
    """The fields of the first yaml that names the component ``name``."""
    for group in groups.BASES:
        for choice in groups.names(group):
            fields: dict[str, Any] = identity(groups.node(group, choice))
            if fields.get(COMPONENT) == name:
                return fields
    return {}


def modern(job: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a job as 7a19cb7 or a later revision kept it, in the words of this one."""
    content = {key: value for key, value in job.items() if key not in APART}
    if "network" in content and TARGET not in content["network"]:
        network = content["network"]
        content["network"] = {TARGET: _network(network["name"]), **network["args"]}
    if "denoiser" in content:
        denoiser = content.pop("denoiser")
        name = PARAMETERIZATIONS[denoiser["name"]]
        content["parameterization"] = {TARGET: f"sde_diffusion.{name}", **denoiser["args"]}
        content |= {key: denoiser[key] for key in ("sigma_min", "sigma_max")}
    if "guidance" in content:
        content["guidance"] = modern_guidance(content["guidance"])
    if "metrics" in content:
        chosen = {name: node for entry in content.pop("metrics") for name, node in _metric(entry)}
        content |= {"metric": chosen} if chosen else {}
    data = content.get("data")
    if isinstance(data, dict) and str(data.get(TARGET)).startswith("sde_diffusion.data.image_"):
        data.pop("key", None)
    content_now: dict[str, Any] = identity(content)
    return content_now


def modern_guidance(guidance: Mapping[str, Any]) -> dict[str, Any]:
    """Guidance without the scale that stood beside its parts: it is a field of ``cfg`` now."""
    scale = guidance.get("scale")
    return {
        name: {k: scale if v == "${guidance.scale}" else v for k, v in node.items()}
        for name, node in guidance.items()
        if isinstance(node, Mapping)
    }


def _network(name: str) -> str:
    """The class path of a network that was known by its registered name."""
    for point in entry_points(group="sde_diffusion.networks", name=name):
        return point.value.replace(":", ".")
    return NETWORKS[name]


def _metric(entry: Any) -> list[tuple[str, dict[str, Any]]]:
    """An entry of the list that metrics were: a name, or {LABEL: {metric: NAME, FIELD: VALUE}}."""
    labelled = {entry: {}} if isinstance(entry, str) else entry
    pairs = []
    for label, fields in labelled.items():
        name = fields.get("metric", label)
        arguments = {k: v for k, v in fields.items() if k != "metric"}
        pairs.append((name, {**groups.node("metric", name), **arguments}))
    return pairs
