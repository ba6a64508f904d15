"""Integrals that give a multistep solver its coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# Coefficients are functions of a few noise levels: computed for the first batch that walks a grid,
# looked up for the next.
once_a_grid = lru_cache(maxsize=4096)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)


def gauss_legendre(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """32 points and weights for the integral from a to b (negative weights if b < a)."""
    half = 0.5 * (b - a)
    return a + half * (1 + NODES), half * WEIGHTS


def lagrange_integrals(
    nodes: Sequence[float], points: np.ndarray, measure: np.ndarray
) -> list[float]:
    """sum_m l_j(points_m) measure_m for each Lagrange polynomial l_j through ``nodes``."""
    integrals = []
    for j, node in enumerate(nodes):
        basis = measure
        for k, other in enumerate(nodes):
            if k != j:
                basis = basis * (points - other) / (node - other)
        integrals.append(float(basis.sum()))
    return integrals
