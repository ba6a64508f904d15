"""The executable: ``sde-diffusion TASK overrides...`` is ``task=TASK overrides...``.

Hydra composes the config and this module turns every fault of the user into one line. The task
itself is imported only when it runs: ``--help`` and completion load no torch.

Under ``torchrun`` every process runs all of this, and all must come to the same folder: ``now`` is
the time at which rank 0 started, and rank 0 alone keeps Hydra's copy of the config.
"""

from __future__ import annotations

import datetime
import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sde_diffusion.config import completion, groups, marks, parts, renamed, words, yaml_files
from sde_diffusion.config.compose import ROOT, folders, one_line
from sde_diffusion.config.folders import folder_of
from sde_diffusion.config.help import head
from sde_diffusion.config.packages import find_packages
from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.interrupts import check, heard, passed_on
from sde_diffusion.system.streams import forgiving
from sde_diffusion.tasks.multirun import ended

FULL_ERROR = "HYDRA_FULL_ERROR"
OF_USERS = (HydraException, OmegaConfBaseException, InputError)
# What the composer itself stumbles over: a yaml that is none, lists in lists in lists.
OF_CONFIGS = (ValueError, TypeError, LookupError, AttributeError, RecursionError, YAMLError)
SENTENCES = ("prompt", "negative")  # keys whose values are sentences


class UserError(CompactHydraException):
    """An InputError as Hydra reports it: one line, and the other jobs of a sweep go on."""


# Tasks that several processes can share.
SHARED = (
    "train",
    "sample",
    "compare",
    "calibrate",
    "reference",
    "evaluate",
    "likelihood",
    "interpolate",
    "edit",
)
# The fault of a single job. Raised from the job, Hydra would add a line of its own.
_faults: list[str] = []
# The tasks that began: what goes wrong in one is no fault of the composer.
_running: list[str] = []
# What is said of keys given twice, once a job begins: a refusal stands alone.
_repeated: list[str] = []
# The folder of a single job, and whether an earlier revision named it.
_chosen: dict[str, tuple[Path, bool]] = {}


def run_task(config: DictConfig) -> Any:
    """Run one job; its folder is hydra.run.dir."""
    check()  # an interrupt that the composer has swallowed
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        name = str(config.task)
        if processes() > 1 and name not in SHARED:
            raise InputError(f"task={name}: torchrun is for {', '.join(SHARED)}; start one process")
        older = [path for path, named_before in _chosen.values() if named_before]
        if folder in (path.absolute() for path in older) and process() == 0:
            print(f"{folder}: an earlier revision named it for this job, which goes on there")
        _running.append(name)
        task = importlib.import_module(f"sde_diffusion.tasks.{name}")
        from sde_diffusion.system.notice import later, waiting

        with groups.searching(folders()), waiting():
            while _repeated:
                later(_repeated.pop(0))
            return task.run(config, folder)
    except (InputError, OmegaConfBaseException, HydraException) as error:
        passed_on(error)
        line = str(error) if isinstance(error, InputError) else one_line(error)
        if HydraConfig.get().mode == RunMode.RUN:
            _faults.append(line)
            if process() == 0:
                _forget(folder)
            return None
        if processes() > 1:  # the others may be in the middle of this job, so the sweep ends
            print(f"{_who()}: job {HydraConfig.get().job.num}: {line}", file=sys.stderr)
            sys.exit(2)
        print(f"job {HydraConfig.get().job.num}: {line}", file=sys.stderr)
        raise UserError(line) from error


def job_folder(config: DictConfig) -> str:
    """The folder of a single job, the same one for all processes."""
    job = cast(dict[str, Any], OmegaConf.to_container(config, resolve=False))
    key = repr(job)
    if key not in _chosen:  # asked for several times
        first = folder_of(job) if process() == 0 else None
        if processes() > 1:
            from sde_diffusion.system.processes import from_first

            first = from_first(first)
        assert first is not None
        _chosen[key] = first
    return str(_chosen[key][0])


def _forget(folder: Path) -> None:
    """Remove the folder of a refused job, if nothing but Hydra's copy of the config is in it."""
    if {path.name for path in folder.iterdir()} <= {".hydra"}:
        here = folder.absolute().resolve() == Path.cwd()  # which stays
        shutil.rmtree(folder / ".hydra" if here else folder, ignore_errors=here)


def processes() -> int:
    """How many processes ``torchrun``, or whoever sets its variables, has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def process() -> int:
    """The rank of this one."""
    return int(os.environ["RANK"]) if processes() > 1 else 0


def _who() -> str:
    return "sde-diffusion" if processes() == 1 else f"sde-diffusion, rank {process()}"


@contextmanager
def together() -> Iterator[datetime.datetime]:
    """The time at which rank 0 started; the processes talk to each other until the block ends."""
    now = datetime.datetime.now()
    if processes() == 1:
        yield now
        return
    from sde_diffusion.system.processes import from_first, joined

    with joined():
        yield from_first(now)


def with_task(argv: list[str]) -> list[str]:
    """``compare nfe=[4]`` as ``task=compare nfe=[4]``; overrides may stand around flags."""
    flags, typed = words.split(argv)
    typed = words.with_folders(typed)
    if completion.asked(flags):
        return argv
    yaml_files.check_folders(words.config_folders(flags))
    named = [word for word in typed if word.isidentifier()]
    if len(named) > 1:
        raise InputError(words.second_task(typed, named))
    overrides = [f"task={word}" if word.isidentifier() else _quoted(word) for word in typed]
    tell = renamed.tell if process() == 0 else lambda line: None
    overrides = marks.unmarked(renamed.modern(overrides, tell))
    if process() == 0:
        marks.tell_repeated(overrides, _repeated.append)
    overrides = words.with_sampler(words.with_method(overrides))
    several = bool({"-m", "--multirun"} & set(flags))
    marks.check_folders(overrides, several)
    overrides = words.readable(overrides, several)
    overrides = parts.whole(overrides)
    if processes() > 1:
        # Hydra's own ``now`` is the time of each process.
        overrides = [word.replace("${now:", "${started:") for word in overrides]
        overrides += ["hydra.output_subdir=null"] if process() else []
    return [*flags, *overrides]


def _helped() -> None:
    """``--help`` begins with the task that was typed, if one was."""
    typed = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith("task=")]
    about = head(typed[0] if typed else None)
    OmegaConf.register_new_resolver("help_head", lambda: about, replace=True)


def _quoted(word: str) -> str:
    """A sentence as one string to Hydra, to which commas and brackets mean something."""
    key, equals, text = word.partition("=")
    if key not in SENTENCES or not text or text[0] in "'\"[" or text == "null":
        return word
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}{equals}"{escaped}"'


def main() -> None:
    """The executable: of the console script, and of ``python -m sde_diffusion.cli``."""
    with forgiving(), heard():
        try:
            _interruptible()
        except KeyboardInterrupt:
            line = f"{_who()}: interrupted; the same command goes on from here"
            print(line, file=sys.stderr)
            sys.exit(130)


def _interruptible() -> None:
    """The command; what a library has made of an interrupt is one again."""
    try:
        _main()
    except (Exception, SystemExit) as error:
        passed_on(error)
        raise
    check()


def _compose() -> None:
    """Hydra composes the config of each job and runs it; UserError of the fault of a single one."""
    run = hydra.main(config_path=groups.conf_dir(), config_name=ROOT, version_base="1.3")
    try:
        run(run_task)()
    except Exception:
        ended()  # a job of a multirun failed, the others may be finished
        raise
    if _faults:
        raise UserError(_faults[0])


def _line(error: Exception) -> str:
    """What is wrong, and what to do about it."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OF_USERS):
        typed = [word for word in sys.argv[1:] if "=" in word or word.startswith("~")]
        return one_line(error, typed)
    if isinstance(error, OSError):  # of Hydra's own folder: on a disk that may not be written, say
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        key = "hydra.sweep.dir" if {"-m", "--multirun"} & set(sys.argv) else "hydra.run.dir"
        return f"{where}; give a folder that can be written, {key}=FOLDER"
    line = shown(f"{type(error).__name__}: {error}", 300)
    return f"config: not read ({line}); {_remedy(error)}"


def _remedy(error: Exception) -> str:
    """What to do about an error of the composer's own."""
    if isinstance(error, UnicodeDecodeError):
        return "write all yamls in UTF-8"
    return "mend that yaml" if isinstance(error, YAMLError) else f"{FULL_ERROR}=1 shows more"


def _main() -> None:
    wanted_traceback = os.environ.get(FULL_ERROR) == "1"
    find_packages()
    OmegaConf.register_new_resolver(
        "job_folder", lambda *, _root_: job_folder(_root_), replace=True
    )
    # Hydra prints faults over several lines and exits; raised instead, they become one line.
    os.environ[FULL_ERROR] = "1"
    _chosen.clear()
    for lines in (_faults, _running, _repeated):
        lines.clear()
    try:
        sys.argv[1:] = with_task(sys.argv[1:])
        if "--version" in sys.argv[1:]:  # the composer would answer with its own
            from sde_diffusion.system.provenance import package_version

            print(f"sde_diffusion {package_version()}")
            return
        _helped()
        with together() as started:
            OmegaConf.register_new_resolver("started", started.strftime, replace=True)
            if completion.asked(sys.argv[1:]):
                completion.answer(sys.argv[1:], _compose)
            else:
                _compose()
    except (*OF_USERS, OSError, *OF_CONFIGS) as error:
        if wanted_traceback or (_running and not isinstance(error, (*OF_USERS, OSError))):
            raise
        passed_on(error)
        sys.stderr.write(f"{_who()}: {_line(error)}\n")  # at once: other processes write too
        sys.exit(2)


if __name__ == "__main__":
    main()
