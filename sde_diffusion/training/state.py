"""The checkpoints of a run: the last k, the best, and the newest that is whole."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from sde_diffusion.checkpoint import Spec, read_checkpoint, save_checkpoint
from sde_diffusion.errors import InputError

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
BEST = "best.safetensors"
EARLIER = re.compile(r"checkpoint-(\d+)\.safetensors")


class Checkpoints:
    """``checkpoint.safetensors`` is the newest, ``checkpoint-STEP.safetensors`` those before it.

    A file is there whole or not at all; what is torn all the same (by a full or a failing disk)
    is passed over with a line, and the one before it is taken.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._newest: int | None = None  # step of ``checkpoint.safetensors``, if it is good

    def earlier(self) -> list[Path]:
        """The files before the newest, the latest first."""
        found = [
            (int(match[1]), path)
            for path in self.folder.glob("checkpoint-*.safetensors")
            if (match := EARLIER.fullmatch(path.name)) is not None
        ]
        return [path for _, path in sorted(found, reverse=True)]

    def read(self) -> tuple[Spec, dict[str, Tensor]] | None:
        """The newest checkpoint that is whole, None where there is none at all.

        InputError if there are files, but no whole one: they are not silently trained over.
        """
        paths = [path for path in (self.folder / CHECKPOINT, *self.earlier()) if path.exists()]
        reasons: list[InputError] = []
        for path in paths:
            try:
                spec, tensors = read_checkpoint(path)
            except InputError as error:
                reasons.append(error)
                continue
            if reasons:
                print(f"{reasons[0]}; going on from {path.name}", file=sys.stderr)
            self._newest = spec.step if path.name == CHECKPOINT else None
            return spec, tensors
        if reasons:
            raise InputError(
                f"hydra.run.dir={self.folder}: no whole checkpoint ({reasons[0]}); "
                "choose another folder or remove it"
            )
        return None

    def write(self, spec: Spec, tensors: dict[str, Tensor]) -> None:
        """Write the newest checkpoint; the one before it gets its step's name, old ones go."""
        path = self.folder / CHECKPOINT
        if self._newest not in (None, spec.step) and self.keep > 1:
            earlier = self.folder / f"checkpoint-{self._newest:08d}.safetensors"
            try:
                os.link(path, earlier)  # so that the newest is there at any moment
            except OSError:  # no links on this disk, or linked before a kill
                os.replace(path, earlier)
        save_checkpoint(path, spec, tensors)
        self._newest = spec.step
        for old in self.earlier()[self.keep - 1 :]:
            old.unlink()


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under names that start with ``prefix``."""
    return {prefix + name: value for name, value in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of ``prefixed``: the tensors whose names start with ``prefix``."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def differences(recorded: Spec, wanted: Spec) -> list[str]:
    """Names of what a resumed run must share and does not; an older record may lack some."""
    ours, theirs = _identity(wanted), _identity(recorded)
    return sorted(name for name in ours if name in theirs and ours[name] != theirs[name])


def _identity(spec: Spec) -> dict[str, Any]:
    fields = asdict(spec)
    run = fields.pop("config").get("run", {})
    del fields["step"]
    fields["shape"] = tuple(fields["shape"])
    return {**fields, **run.pop("train", {}), **run}
