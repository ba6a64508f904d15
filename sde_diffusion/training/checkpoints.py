"""The checkpoints of a run: the last k, the best, and the newest that is whole."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.models.file import read_checkpoint, save_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks.registry import find
from sde_diffusion.system.identity import identity
from sde_diffusion.system.processes import from_first, rank
from sde_diffusion.system.resume import NOISE

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
BEST = "best.safetensors"
EARLIER = re.compile(r"checkpoint-(\d+)\.safetensors")


class Checkpoints:
    """``checkpoint.safetensors`` is the newest, ``checkpoint-STEP.safetensors`` those before it.

    A file is there whole or not at all; what is damaged all the same (by a failing disk, say) is
    passed over with a line, and the one before it is taken. Of several processes, all call every
    method; rank 0 writes, and the others read the file that it has chosen.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._newest: int | None = None  # step of ``checkpoint.safetensors``, if it is good
        self._whole: tuple[Spec, dict[str, Tensor]] | None = None  # what rank 0 has read to choose

    def earlier(self) -> list[Path]:
        """The files before the newest, the latest first."""
        numbered = [
            (int(match[1]), path)
            for path in self.folder.glob("checkpoint-*.safetensors")
            if (match := EARLIER.fullmatch(path.name)) is not None
        ]
        return [path for _, path in sorted(numbered, reverse=True)]

    def read(self) -> tuple[Spec, dict[str, Tensor]] | None:
        """The newest checkpoint that is whole, None where there is none at all.

        InputError if there are files, but no whole one: they are not silently trained over.
        """
        chosen = from_first(self._choose() if rank() == 0 else None)
        if chosen is None:
            return None
        name, reasons = chosen
        if name is None:
            raise InputError(
                f"hydra.run.dir={self.folder}: no whole checkpoint ({reasons}); "
                "choose another folder or remove it"
            )
        spec, tensors = self._whole or read_checkpoint(self.folder / name)
        self._whole = None
        self._newest = spec.step if name == CHECKPOINT else None
        return spec, tensors

    def _choose(self) -> tuple[str | None, str] | None:
        """Name of the newest whole file, if there is one, and why those after it are passed over.

        None if there are no files.
        """
        reasons = ""
        for path in (self.folder / CHECKPOINT, *self.earlier()):
            if path.exists():
                try:
                    self._whole = read_checkpoint(path)
                except InputError as error:
                    reasons = reasons or str(error)
                    continue
                if reasons:
                    print(f"{reasons}; going on from {path.name}", file=sys.stderr)
                return path.name, reasons
        return (None, reasons) if reasons else None

    def write(self, spec: Spec, tensors: dict[str, Tensor]) -> None:
        """Write the newest checkpoint; the one before it gets its step's name, old ones go."""
        path = self.folder / CHECKPOINT
        if rank() == 0 and self._newest not in (None, spec.step) and self.keep > 1:
            earlier = self.folder / f"checkpoint-{self._newest:08d}.safetensors"
            try:
                os.link(path, earlier)  # so that the newest is there at any moment
            except OSError:  # no links on this disk, or linked before a kill
                os.replace(path, earlier)
        save_checkpoint(path, spec, tensors)
        self._newest = spec.step
        if rank() == 0:
            for old in self.earlier()[self.keep - 1 :]:
                old.unlink()


def differences(recorded: Spec, wanted: Spec) -> list[str]:
    """Names of what a resumed run must share and does not; an older record may lack some."""
    if not recorded.class_names:  # as of before they were kept
        wanted = replace(wanted, class_names=())
    ours, theirs = _identity(wanted), _identity(recorded)
    return sorted(name for name in ours if name in theirs and ours[name] != theirs[name])


def _identity(spec: Spec) -> dict[str, Any]:
    fields = asdict(spec)
    del fields["step"], fields["config"]
    fields["shape"] = tuple(fields["shape"])
    # An argument that came in later has its default in an older record.
    takes = signature(find(spec.network)).parameters.items()
    later = {name: taken.default for name, taken in takes if taken.default is not taken.empty}
    fields["network_args"] = identity({**later, **spec.network_args})
    # A run goes on whichever noise it began with.
    parts = {
        name: value
        for name, value in _dict(spec.config.get("run")).items()
        if name not in ("train", NOISE)
    }
    return {**fields, **settings(spec), **identity(parts)}


def settings(spec: Spec) -> dict[str, Any]:
    """The settings of the run that wrote a checkpoint, as far as it records them."""
    kept = _dict(_dict(spec.config.get("run")).get("train"))
    if kept.get("precision") == "float64":  # as 7a19cb7 called the dtype
        kept = {**kept, "precision": "float32", "dtype": "float64"}
    # Nothing was frozen before there was a choice.
    return {**kept, "frozen": kept.get("frozen", [])} if kept else kept


def noise_version(spec: Spec) -> int:
    """The version of the noise that a checkpoint's last steps were drawn from."""
    return int(_dict(spec.config.get("run")).get(NOISE, 1))


def _dict(value: Any) -> dict[str, Any]:
    """``value`` if it is one: a file from elsewhere may hold anything there."""
    return value if isinstance(value, dict) else {}
