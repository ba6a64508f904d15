"""Commands as processes of their own that have everything imported: forks of this one."""

from __future__ import annotations

import importlib
import itertools
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

PRELOADED = (
    "matplotlib.pyplot", "sde_diffusion.cli", "sde_diffusion.tasks.analyse",
    "sde_diffusion.tasks.calibrate",
    "sde_diffusion.tasks.compare", "sde_diffusion.tasks.convert", "sde_diffusion.tasks.ema",
    "sde_diffusion.tasks.evaluate", "sde_diffusion.tasks.extractor",
    "sde_diffusion.tasks.interpolate", "sde_diffusion.tasks.likelihood",
    "sde_diffusion.tasks.reference", "sde_diffusion.tasks.sample", "sde_diffusion.tasks.train",
)  # fmt: skip
CPU = 60  # most seconds of a processor that a command may take
TRACEBACK = 70  # exit status of a command whose error reached the top


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, or minus the signal that ended it; what it printed."""

    status: int
    stdout: str
    stderr: str


class Job:
    """``sde-diffusion WORDS`` in ``folder``, begun at once.

    Args:
        before: called in the new process before the command, to disturb it from within.
        name: of the files that get what is printed.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        before: Callable[[], None] | None = None,
        name: str = "printed",
    ) -> None:
        for module in PRELOADED:
            importlib.import_module(module)
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        self.began = time.monotonic()
        self.process = os.fork()
        if self.process == 0:
            _child(words, folder, (self.out, self.err), before)

    def send(self, number: int) -> None:
        """A signal; nothing if the command has ended."""
        os.kill(self.process, number)

    def wait(self, seconds: float = 600.0) -> Ended:
        """The end of the command; TimeoutError, and its end, if it takes longer.

        On a machine that others use that is long: what a command itself may take is ``CPU``.
        """
        while True:
            gone, status = os.waitpid(self.process, os.WNOHANG)
            if gone:
                printed = [path.read_text(errors="replace") for path in (self.out, self.err)]
                return Ended(os.waitstatus_to_exitcode(status), *printed)
            if time.monotonic() - self.began > seconds:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                raise TimeoutError(f"no end in {seconds:g} s")
            time.sleep(0.005)


def _child(
    words: list[str], folder: Path, outputs: tuple[Path, Path], before: Callable[[], None] | None
) -> None:
    """The command, in this process, which ends with it."""
    # The threads of this process's OpenMP are not in its fork, which would wait for them.
    torch.set_num_threads(1)
    status = TRACEBACK
    try:
        os.chdir(folder)
        for stream, path in zip((1, 2), outputs, strict=True):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w") for stream in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ.update(SDE_DIFFUSION_CACHE=str(folder / "cache"), WANDB_MODE="offline")
        os.environ.pop("HYDRA_FULL_ERROR", None)
        # Seconds that depend on the work alone: each look at the clock is one second later.
        time.perf_counter = itertools.count(1.0).__next__
        resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU + 5))
        sys.argv = ["sde-diffusion", *words]
        if before is not None:
            before()
        importlib.import_module("sde_diffusion.cli").main()
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = status or 1
        os._exit(status)
