"""``sde-diffusion inspect``: what a checkpoint is taken for, and on what evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sde_diffusion.models.opened import Finding, OpenedModel
from sde_diffusion.models.selftest import self_test
from sde_diffusion.system.notice import printable
from sde_diffusion.tasks.run import Run


@dataclass
class InspectTask:
    """Keys of the task."""

    checkpoint: str
    source: dict[str, Any] | None
    self_test: bool
    device: str


def run(config: DictConfig, folder: Path) -> float:
    """Print the findings and write result.json; returns how many are not honoured."""
    with Run(config, folder, InspectTask) as job:
        findings = found(job.model)
        if job.task.self_test:
            findings.append(self_test(job.model).finding)
        job.begin()
        job.result({"findings": [asdict(finding) for finding in findings]})
    for line in lines(findings):
        print(line)
    return float(sum(not finding.honoured for finding in findings))


def found(model: OpenedModel) -> list[Finding]:
    """The findings of the source; of a model of ours, what its spec says; what it may be
    conditioned on."""
    conditions = Finding("conditions", model.takes, "words that sampling takes")
    if model.findings or model.spec is None:
        return [*model.findings, conditions]
    spec, where = model.spec, "its own metadata"
    weights = sum(parameter.numel() for parameter in model.denoiser.parameters())
    return [
        Finding("family", f"sde_diffusion {spec.network}, {weights:,} weights", where),
        Finding("prediction", f"{spec.parameterization} {spec.parameterization_args}", where),
        Finding("levels", f"{spec.sigma_min:g} .. {spec.sigma_max:g}", where),
        Finding("classes", str(spec.classes), where),
        conditions,
        *([Finding("codec", model.codec.described, where)] if model.codec.described else []),
        Finding("size", "x".join(map(str, spec.shape)), where),
        Finding("data", f"{spec.data}, {spec.step} steps", where),
    ]


def lines(findings: list[Finding]) -> list[str]:
    """A line a finding: key, value, evidence; what is not done is marked."""
    width = max((len(finding.key) for finding in findings), default=0)
    return [
        f"{f.key:<{width}}  {printable(f.value)}  ({printable(f.evidence)})"
        + ("" if f.honoured else "  NOT DONE")
        for f in findings
    ]
