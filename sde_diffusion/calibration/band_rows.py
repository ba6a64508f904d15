"""Coefficients of the last step for each band of modes, shrunk towards the one row for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from sde_diffusion.calibration.least_squares import LeastSquares, Path
from sde_diffusion.solvers.calibrated.bands import Bands
from sde_diffusion.solvers.calibrated.rule import Rule

PCA_EDGES = (3, 10, 24, 48)  # of the leading modes; the last band is all that is left
DCT_EDGES = (0.06, 0.15, 0.3, 0.6)  # of the largest frequency
RIDGES = (1e-3, 1e-2, 1e-1)


def fit_last(
    problem: LeastSquares, rule: Rule, path: Path, bands: Bands, judge: Callable[[Rule], float]
) -> Rule:
    """``rule`` with a last row for each band, if that is better to ``judge`` than one row.

    Ridge regression of the converged image, band by band; no network is asked. Only the last step:
    bands in every step learn the noises of the calibration by heart.
    """
    i, bands = rule.n - 1, bands.to(problem.target)
    scalar = rule.weights[i]
    # What the row for all leaves, but for the network's answers, which each band weighs anew.
    bare = replace(rule, weights=torch.zeros_like(rule.weights), last=None)
    missing = problem.target - bare.advance(i, path.states[i], path.seen, None)
    left = [x.flatten().double() for x in bands.split(missing)]
    parts = [bands.split(e) for e in path.seen.residuals]
    best, least = rule, judge(rule)
    for ridge in RIDGES:
        rows = []
        for b in range(bands.count):
            design = torch.stack([part[b].flatten() for part in parts]).double()
            gram = design @ design.T
            gram += ridge * gram.diag().mean() * torch.eye(len(design)).to(gram)
            prior = scalar.to(design)
            rows.append(prior + torch.linalg.solve(gram, design @ (left[b] - prior @ design)))
        fitted = replace(rule, last=torch.stack(rows).cpu())
        error = judge(fitted)
        if error < least:
            best, least = fitted, error
    return best
