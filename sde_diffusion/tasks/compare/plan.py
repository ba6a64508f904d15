"""What a comparison will run: every cell, checked before the first one starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.process.noise import VERSION
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.system.identity import digest, identity
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.compare.design import Design, Entry

PARTS = ("solver", "grid", "sde", "noise", "guidance")
Budget = tuple[str, int | None]


@dataclass(frozen=True, eq=False)
class Plan:
    """One cell to run.

    Attributes:
        label, sampler, nfe, steps: a labelled sampler, and its budget (None for an adaptive one).
        model: the name of the model that it samples. classes: how many it knows.
        block, seeds, cond: which block of seeds, and their condition.
        filmed: whether its first images are recorded.
        depends: everything that the features depend on, by content.
    """

    label: str
    sampler: Sampler
    nfe: int | None
    steps: int
    model: str
    classes: int
    block: int
    seeds: range
    cond: Condition | None
    filmed: bool
    depends: dict[str, Any]

    @property
    def budget(self) -> Budget:
        """What all its blocks share: a label, and the evaluations that it may spend."""
        return self.label, self.nfe

    @property
    def strata(self) -> Tensor | None:
        """The labels [N] of the samples, which were set and not drawn; None without labels."""
        label = None if self.cond is None else self.cond.parts.get(LABEL)
        return None if label is None else label.value

    @property
    def name(self) -> str:
        """The name of its file: what depends on anything else has another name."""
        kind = "adaptive" if self.nfe is None else str(self.nfe)
        return f"{self.label}-{kind}-{digest(self.depends)}.safetensors"

    @property
    def weight(self) -> int:
        """Evaluations a sample, for the progress bar; a guess for an adaptive solver."""
        return self.nfe or 100


def plans(entries: Sequence[Entry], design: Design, judges: Mapping[str, str]) -> list[Plan]:
    """Every cell, block by block, so that a run that is cut short has whole comparisons.

    ``judges`` are the fingerprints of what sees the images.
    """
    cells = []
    for block in range(design.repeats):
        for entry in entries:
            for nfe in entry.nfe or [None]:
                cells.append(_plan(entry, nfe, block, design, judges))
    return cells


def _plan(
    entry: Entry, nfe: int | None, block: int, design: Design, judges: Mapping[str, str]
) -> Plan:
    sampler, model, seeds = entry.sampler, entry.model, design.seeds(block)
    filmed = design.animation and block == 0 and nfe is not None and nfe == max(entry.nfe)
    depends = {
        "parts": entry.identities,
        "nfe": nfe,
        "seeds": [seeds[0], design.most],
        "label": identity(design.label),
        "denoise_last": design.denoise_last,
        "dtype": design.dtype,
        "precision": model.arithmetic,
        "filmed": filmed,
        "model": model.fingerprint,
        **judges,
        "device": design.device,
        "batch_size": design.batch_size if sampler.solver.couples_batch else None,
        NOISE: VERSION,
    }
    if design.sentences:
        depends["prompts"] = digest(design.sentences)
    cond = design.condition(model, seeds, sampler.denoiser.classes_of_guidance)
    request = Request(seeds, nfe, cond)
    sampler.walk(request)
    if block == 0:
        sampler.tell_idle(request)
    return Plan(
        entry.label,
        sampler,
        nfe,
        sampler.steps(nfe),
        model.name,
        model.classes,
        block,
        seeds,
        cond,
        filmed,
        depends,
    )
