"""The executable: ``sde-diffusion TASK overrides...`` is ``task=TASK overrides...``.

Hydra composes the config and this module turns every fault of the user into one line. The task
itself is imported only when it runs: ``--help`` and completion load no torch.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sde_diffusion.config import ROOT, conf_dir, digest, one_line
from sde_diffusion.errors import InputError
from sde_diffusion.help import keys, tasks

FULL_ERROR = "HYDRA_FULL_ERROR"


# Hydra's flags that are followed by a value.
VALUE_FLAGS = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--info", "-i", "--experimental-rerun",
)  # fmt: skip


class UserError(CompactHydraException):
    """An InputError as Hydra reports it: one line, and the other jobs of a sweep go on."""


# The fault of a single job. Raised from the job, Hydra would add a line of its own.
_faults: list[str] = []


def run_task(config: DictConfig) -> Any:
    """Run one job; its folder is hydra.run.dir."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        name = str(config.task)
        return importlib.import_module(f"sde_diffusion.tasks.{name}").run(config, folder)
    except (InputError, OmegaConfBaseException, HydraException) as error:
        line = str(error) if isinstance(error, InputError) else one_line(error)
        if HydraConfig.get().mode == RunMode.RUN:
            _faults.append(line)
            _forget(folder)
            return None
        print(f"job {HydraConfig.get().job.num}: {line}", file=sys.stderr)
        raise UserError(line) from error


def _forget(folder: Path) -> None:
    """Remove the folder of a refused job, if nothing but Hydra's copy of the config is in it."""
    if {path.name for path in folder.iterdir()} <= {".hydra"}:
        shutil.rmtree(folder)


def with_task(argv: list[str]) -> list[str]:
    """``compare nfe=[4]`` as ``task=compare nfe=[4]``; overrides may stand around flags."""
    flags, overrides = [], []
    for i, word in enumerate(argv):
        if word.startswith("-") or (i > 0 and argv[i - 1] in VALUE_FLAGS):
            flags.append(word)
        else:
            overrides.append(f"task={word}" if word.isidentifier() else word)
    return [*flags, *overrides]


def main() -> None:
    """Entry point of the console script and of ``python -m sde_diffusion.cli``."""
    wanted_traceback = os.environ.get(FULL_ERROR) == "1"
    sys.argv[1:] = with_task(sys.argv[1:])
    OmegaConf.register_new_resolver("config_digest", lambda *, _root_: digest(_root_), replace=True)
    OmegaConf.register_new_resolver("help_tasks", tasks, replace=True)
    OmegaConf.register_new_resolver("help_keys", keys, replace=True)
    # Hydra prints faults over several lines and exits; raised instead, they become one line.
    os.environ[FULL_ERROR] = "1"
    _faults.clear()
    try:
        hydra.main(config_path=conf_dir(), config_name=ROOT, version_base="1.3")(run_task)()
        if _faults:
            raise UserError(_faults[0])
    except (HydraException, OmegaConfBaseException) as error:
        if wanted_traceback:
            raise
        print(f"sde-diffusion: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("sde-diffusion: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
