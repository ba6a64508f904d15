"""The end of a multirun: its jobs are joined, whichever launcher ran them.

Loads no torch before there is something to join: Hydra makes the callback for every command.
"""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from sde_diffusion.config.command import PROGRAM
from sde_diffusion.errors import InputError

JOINED = "joined"


class JoinAtTheEnd(Callback):
    """``joined/`` in the folder of a multirun: the report of all its jobs that are finished.

    Hydra calls the end only where no job failed; ``ended`` is what the command calls else.
    """

    folder: Path | None = None  # of the multirun in progress

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the folder."""
        type(self).folder = Path(str(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Join the jobs."""
        ended()


def ended() -> None:
    """Join the finished jobs of the multirun that has ended, if there are several."""
    folder, JoinAtTheEnd.folder = JoinAtTheEnd.folder, None
    if folder is None or not folder.is_dir():
        return
    from sde_diffusion.system.notice import notice
    from sde_diffusion.system.output import Output
    from sde_diffusion.system.provenance import machine
    from sde_diffusion.system.tracking import NoTracker
    from sde_diffusion.tasks.join import joined
    from sde_diffusion.tasks.join.finished import finished

    logging.disable(logging.INFO)  # Hydra prints what libraries log: of each letter of a plot
    try:
        jobs = finished([folder])
        if len(jobs) < 2:
            return
        output = Output(folder / JOINED, NoTracker())
        facts: dict[str, Any] = {"command": shlex.join([PROGRAM, "join", str(folder)]), **machine()}
        facts["config"] = {"task": "join", "folders": [str(folder)]}
        with output.held("hydra.sweep.dir"):
            print(joined(jobs, output, facts))
    except (InputError, OSError) as error:
        notice(f"the jobs are not joined: {error}")
    finally:
        logging.disable(logging.NOTSET)
