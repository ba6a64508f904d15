"""One comparison of the samplers of several finished ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config.compose import build
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.judge import Judge, Row, metrics
from sde_diffusion.metrics.references import judged_by, reference_for
from sde_diffusion.report import Comparison
from sde_diffusion.report.comparison import point
from sde_diffusion.report.ranking import Ranking, rank, rank_unpaired
from sde_diffusion.tasks.join.finished import Finished, differences
from sde_diffusion.tasks.join.pools import Pool, compared, pools

LEAST = 2  # images that a distance is taken of


def comparison(jobs: Sequence[Finished], facts: Mapping[str, Any]) -> Comparison:
    """The samplers of all jobs, judged together on the seeds that all of them have.

    Without two such seeds each is judged on its own first ones, as many of each, and differences
    are of independent samples. ``facts`` say what the numbers depend on besides.
    """
    compared(jobs)
    config = jobs[0].config
    extractor: Extractor = build(config["extractor"], "extractor", Extractor)
    reference = reference_for(extractor, config.get("reference"))
    judge = Judge(reference.reference, reference.features, metrics(config.get("metric")))
    every = pools(jobs)
    common = sorted(set.intersection(*(set(pool.seeds) for pool in every)))
    paired = len(common) >= LEAST
    most = len(common) if paired else min(len(pool.seeds) for pool in every)
    seeds = {id(pool): common if paired else list(pool.seeds[:most]) for pool in every}
    strata = {id(pool): strata_of(pool, seeds[id(pool)], jobs) for pool in every}
    counts = sorted({n for job in jobs for n in job.config["samples"] if n <= most} | {most})
    like = strata[id(every[0])]
    floors = judge.floors(
        reference.held_out, counts, reference.held_out_labels, like, like is not None
    )
    rows = {
        id(pool): _rows(pool, seeds[id(pool)], strata[id(pool)], judge, counts, floors)
        for pool in every
    }
    return Comparison(
        rows=[row for scored in rows.values() for row in scored],
        points=[point([row], row) for scored in rows.values() for row in scored],
        rankings=rankings(every, rows, seeds, strata, judge, paired),
        floors=floors,
        shown={(pool.label, f"{pool.measured:g}"): pool.images for pool in every},
        facts={
            **facts,
            **judged_by(extractor, reference),
            **together(jobs, every),
            "paired": paired,
            "seeds": _span(common) if paired else "of each its own: none are in all jobs",
            "left_out": [line for job in jobs for line in job.facts.get("left_out", [])]
            + unequal(every, most),
        },
    )


def strata_of(pool: Pool, seeds: Sequence[int], jobs: Sequence[Finished]) -> Tensor | None:
    """The labels [N] that were set; None where they were not, or are not known any more."""
    classes = next((job.facts["classes"] for job in jobs if job.facts.get("classes")), None)
    if pool.wish == "all" and classes:
        return torch.tensor([seed % classes for seed in seeds])
    return torch.full((len(seeds),), pool.wish) if type(pool.wish) is int else None


def _rows(
    pool: Pool,
    seeds: Sequence[int],
    strata: Tensor | None,
    judge: Judge,
    counts: Sequence[int],
    floors: Mapping[int, Row],
) -> list[Row]:
    """One a number of samples, with the protocol of the first cell."""
    of_pool = {
        "solver": pool.label,
        "nfe": pool.measured,
        "block": 0,
        "seeds": _span(seeds),
        "seconds": pool.seconds,
        "ms_per_image": 1000 * pool.seconds / len(pool.seeds),
    }
    rows = []
    for row in judge.rows(pool.of(seeds), counts, strata):
        real = floors.get(row["samples"], {"fd": None, "fd_debiased": None})
        floor = {"floor": real["fd"], "floor_debiased": real["fd_debiased"]}
        rows.append({**pool.row, **of_pool, **row, **floor})
    return rows


def _span(seeds: Sequence[int]) -> str:
    """Seeds, increasing, as they are given: 0-99,500-599."""
    starts = [seed for before, seed in pairwise(seeds) if seed != before + 1]
    ends = [before for before, seed in pairwise(seeds) if seed != before + 1]
    ranges = zip([seeds[0], *starts], [*ends, seeds[-1]], strict=True)
    return ",".join(f"{first}-{last}" for first, last in ranges)


def rankings(
    every: Sequence[Pool],
    rows: Mapping[int, Sequence[Row]],
    seeds: Mapping[int, Sequence[int]],
    strata: Mapping[int, Tensor | None],
    judge: Judge,
    paired: bool,
) -> list[Ranking]:
    """One an NFE at the largest number of samples; adaptive samplers have no rivals."""
    rivals: dict[tuple[str, int | None], list[Pool]] = {}
    for pool in every:
        key = (pool.label if pool.nfe is None else "", pool.nfe)
        rivals.setdefault(key, []).append(pool)
    ranked = []
    for group in rivals.values():
        last = [rows[id(pool)][-1] for pool in group]
        if not paired:
            ranked.append(rank_unpaired(last))
            continue
        features = {pool.label: pool.of(seeds[id(pool)]) for pool in group}
        labels = [strata[id(pool)] for pool in group]
        same = all(x is not None and labels[0] is not None and x.equal(labels[0]) for x in labels)
        of_all = labels[0] if same else None
        ranked.append(rank(last, features, judge.reference, judge.sufficient, of_all))
    return sorted(ranked, key=lambda ranking: ranking.nfe)


def together(jobs: Sequence[Finished], every: Sequence[Pool]) -> dict[str, Any]:
    """What the jobs were, and in what they differ."""
    apart = differences(jobs)
    papers: dict[str, list[str]] = {}
    for job in jobs:
        papers |= job.facts.get("papers", {})
    return {
        "model": "; ".join(dict.fromkeys(str(job.facts["model"]) for job in jobs)),
        "model_fingerprint": "; ".join(
            dict.fromkeys(str(job.facts["model_fingerprint"]) for job in jobs)
        ),
        "label": "; ".join(dict.fromkeys(str(pool.wish) for pool in every)),
        "papers": papers,
        "jobs": [
            {"job": job.name, **{key: values[k] for key, values in apart.items()}}
            for k, job in enumerate(jobs)
        ],
        "cells": [cell for job in jobs for cell in job.facts["cells"]],
    }


def unequal(every: Sequence[Pool], most: int) -> list[str]:
    """A line of what some samplers have more of than all of them."""
    more = [pool.label for pool in every if len(pool.seeds) > most]
    if not more:
        return []
    return [f"images beyond the {most} that all have, of {', '.join(dict.fromkeys(more))}"]
