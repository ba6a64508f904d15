"""What a checkpoint is taken for, and on what evidence, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from sde_diffusion.face import values
from sde_diffusion.face.components import opened_model
from sde_diffusion.face.load import load
from sde_diffusion.face.rows import Rows
from sde_diffusion.models.opened import Finding, OpenedModel
from sde_diffusion.models.selftest import self_test as asked
from sde_diffusion.tasks.inspect import found, lines


@final
class Inspection(Rows):
    """A row a finding: ``key``, ``value``, ``evidence``, and ``honoured``: whether sampling here
    does it. ``print`` shows what the command prints.

    Attributes:
        undone: the keys of those that are not honoured.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__([asdict(finding) for finding in findings])
        self._findings = list(findings)
        self.undone = [finding.key for finding in findings if not finding.honoured]

    def __str__(self) -> str:
        return "\n".join(lines(self._findings))

    def __repr__(self) -> str:
        return f"Inspection({len(self)} findings, {len(self.undone)} not done)"


def inspect(
    checkpoint: OpenedModel | str | Path = "mnist", *, self_test: bool = False, **options: Any
) -> Inspection:
    """What a checkpoint is taken for: family, prediction, levels, labels, scheduler keys.

    Args:
        checkpoint: a name, file or folder as for ``load``, or a model.
        self_test: ask it whether it is a denoiser: consistency and distilled models are none.
        options: what its file does not say of itself, as for ``load``.
    """
    if isinstance(checkpoint, str | Path):
        model: OpenedModel = load(checkpoint, **options)
    else:
        model = opened_model(checkpoint)
    findings = found(model)
    if values.truth("self_test", self_test):
        findings.append(asked(model).finding)
    return Inspection(findings)
