"""A comparison that has been checked: cells to run, what judges them, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sde_diffusion.codecs import PIXELS
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.base import Metric
from sde_diffusion.metrics.judge import Judge
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import judged_by, making
from sde_diffusion.report import Comparison
from sde_diffusion.system.output import Output
from sde_diffusion.tasks.compare.cell import Cells
from sde_diffusion.tasks.compare.design import Design, Entry
from sde_diffusion.tasks.compare.plan import Plan, plans
from sde_diffusion.tasks.compare.score import Scores, score
from sde_diffusion.tasks.compare.verdict import verdict


@dataclass(frozen=True)
class Study:
    """What is compared and how it is judged; all that can be refused has been.

    Attributes:
        design: what the cells share. plans: the cells. cells: where they lie.
        reference, judge: what their features are judged by.
    """

    design: Design
    plans: Sequence[Plan]
    cells: Cells
    reference: ReferenceSet
    judge: Judge

    @classmethod
    def of(
        cls,
        design: Design,
        entries: Sequence[Entry],
        cells: Cells,
        reference: ReferenceSet,
        metrics: Sequence[Metric[Any]],
    ) -> Study:
        """The study of these entries; InputError for what cannot be run or judged."""
        for model in {id(entry.model): entry.model for entry in entries}.values():
            space = model.denoiser.space
            if len(space.pattern) == 1:
                raise InputError(
                    f"checkpoint={model.name}: draws vectors; compare ranks solvers on images"
                )
            if model.codec is PIXELS and reference.shape and space.shape != reference.shape:
                raise InputError(
                    f"reference={reference.name}: images {reference.shape}, those of "
                    f"{model.name} are {space.shape}; choose another extractor= or reference=, "
                    f"by {making(space.shape, None)}"
                )
        judge = Judge(reference.reference, reference.features, metrics)
        return cls(
            design, cells.settled(plans(entries, design, cells.judges)), cells, reference, judge
        )

    def run(self, output: Output, facts: Mapping[str, Any], progress: bool = True) -> Comparison:
        """Sample and judge all cells; ``facts`` say what all numbers depend on besides."""
        strata = self.plans[0].strata
        floors = self.judge.floors(
            self.reference.held_out,
            self.design.counts,
            self.reference.held_out_labels,
            strata,
            strata is not None,
        )
        scores = score(self, floors, output, progress)
        points, rankings = verdict(scores.rows, self.judge, self.cells)
        return Comparison(
            rows=[row for rows in scores.rows.values() for row in rows],
            points=points,
            rankings=rankings,
            floors=floors,
            shown=scores.shown,
            facts={**facts, **self._facts(scores)},
            films=scores.films,
        )

    def _facts(self, scores: Scores) -> dict[str, Any]:
        """What all rows share, and every cell with all that it depends on."""
        design = self.design
        return {
            **judged_by(self.cells.extractor, self.reference),
            "seeds": f"{design.seed}-{design.seeds(design.repeats - 1)[-1]}",
            "label": design.label,
            "classes": self.plans[0].classes,
            "left_out": scores.left_out,
            "papers": {plan.label: list(plan.sampler.solver.papers) for plan in scores.rows},
            "cells": [
                {"solver": plan.label, "file": plan.name, "steps": plan.steps, **plan.depends}
                for plan in scores.rows
            ],
        }
