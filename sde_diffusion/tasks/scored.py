"""The Fréchet distance of the samples of a job that chooses an extractor, for a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.config.compose import build, plain
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.extractors.fitting import fitted
from sde_diffusion.metrics.judge import Judge, Row, score_line
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import judged_by, reference_for
from sde_diffusion.tasks.drawn import DrawnSamples
from sde_diffusion.tasks.run import Run


@dataclass(frozen=True)
class Scorer:
    """What judges samples: an extractor, and the reference that it has features of."""

    extractor: Extractor
    reference: ReferenceSet

    @classmethod
    def of(cls, job: Run[Any], n: int) -> Scorer | None:
        """That of the keys ``extractor`` and ``statistics``; None where no extractor is chosen.

        InputError where ``n`` samples of this model cannot be judged by it.
        """
        node, statistics = job.config.get("extractor"), job.config.statistics
        if node is None and statistics is None:
            return None
        if node is None:
            raise InputError(f"statistics={statistics}: nothing sees them; give extractor=NAME too")
        if len(job.model.denoiser.shape) == 1:
            raise InputError("extractor: this model draws vectors; leave extractor= out")
        if n < 2:
            raise InputError(f"n={n}: a distance needs 2 images or more; leave extractor= out")
        extractor: Extractor = build(fitted(plain(node), job.shape), "extractor", Extractor)
        try:
            reference = reference_for(extractor, statistics, drawn=job.shape)
        except InputError as error:  # the key is another one here: reference= is a condition
            line = str(error).replace("reference=", "statistics=")
            raise InputError(line.replace("reference:", "statistics:", 1)) from error
        if job.shape is not None and reference.shape and job.shape != reference.shape:
            raise InputError(
                f"statistics: {reference.name} is of images {reference.shape}, and the model draws "
                f"{job.shape}; choose another extractor= or statistics="
            )
        return cls(extractor, reference)

    def row(self, drawn: DrawnSamples, cond: Condition | None) -> Row:
        """The distance of all samples, with its interval where there are enough."""
        features = [part for images in drawn.parts() for part in self.extractor.stream(images)]
        label = None if cond is None else cond.parts.get(LABEL)
        judge = Judge(self.reference.reference, self.reference.features)
        strata = None if label is None else label.value
        return judge.rows(torch.cat(features), [len(drawn)], strata)[0]

    def facts(self, row: Row) -> dict[str, Any]:
        """The row, and all that it depends on beside the samples."""
        return {**judged_by(self.extractor, self.reference), **row}

    def line(self, row: Row) -> str:
        """The row as it is printed."""
        return score_line(self.extractor.metric, row)
