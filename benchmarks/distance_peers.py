"""The Fréchet distance by the algebra in common use, for ``distance.py``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.linalg import sqrtm

from sde_diffusion.metrics.frechet import Reference
from sde_diffusion.metrics.stats import FeatureStats

Way = Callable[[FeatureStats, Reference], float]


def by_eigvals(a: FeatureStats, b: Reference) -> float:
    """torchmetrics' algebra: eigenvalues of the unsymmetric S S_0."""
    roots = torch.linalg.eigvals(a.cov @ b.cov).sqrt().real.sum()
    return float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * roots)


def by_numpy(a: FeatureStats, b: Reference) -> float:
    """torch-fidelity's: the same with numpy."""
    values = np.linalg.eigvals(a.cov.numpy() @ b.cov.numpy()).astype(complex)
    roots = float(np.sqrt(values).real.sum())
    return float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace()) - 2 * roots


def by_sqrtm(a: FeatureStats, b: Reference) -> float:
    """pytorch-fid's: sqrtm of S S_0, again with 1e-6 on both diagonals if not finite."""
    root = torch.as_tensor(sqrtm((a.cov @ b.cov).numpy()))
    if not root.isfinite().all():
        eye = 1e-6 * torch.eye(len(b.cov), dtype=torch.float64)
        root = torch.as_tensor(sqrtm(((a.cov + eye) @ (b.cov + eye)).numpy()))
    trace = root.real.trace()
    return float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * trace)


def of_torchmetrics(compute: Any) -> Way:
    """Its own function."""
    return lambda a, b: float(compute(a.mean, a.cov, b.mean, b.cov))


def of_torch_fidelity(compute: Any) -> Way:
    """Its own function."""

    def way(a: FeatureStats, b: Reference) -> float:
        sides = [{"mu": s.mean.numpy(), "sigma": s.cov.numpy()} for s in (a, b)]
        return compute(*sides, verbose=False)["frechet_inception_distance"]

    return way


def of_pytorch_fid(compute: Any) -> Way:
    """Its own function; it prints and warns of what it does."""

    def way(a: FeatureStats, b: Reference) -> float:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(compute(a.mean.numpy(), a.cov.numpy(), b.mean.numpy(), b.cov.numpy()))

    return way


# Package: its module and function, how to call it, and its algebra written out.
PEERS = {
    "torchmetrics": ("torchmetrics.image.fid:_compute_fid", of_torchmetrics, by_eigvals),
    "torch-fidelity": (
        "torch_fidelity.metric_fid:fid_statistics_to_metric", of_torch_fidelity, by_numpy,
    ),
    "pytorch-fid": (
        "pytorch_fid.fid_score:calculate_frechet_distance", of_pytorch_fid, by_sqrtm,
    ),
}  # fmt: skip


@cache
def peer(package: str) -> tuple[Way, str]:
    """A package's own function, or its algebra as written here where that does not import."""
    place, own, written = PEERS[package]
    module, _, name = place.partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compute = getattr(importlib.import_module(module), name)
    except ImportError:
        return written, f"{package}: not importable, its algebra as written in the script"
    cov = torch.cov(torch.randn(64, 200, dtype=torch.float64, generator=seeded(3)))
    a, b = FeatureStats(100, cov[0], 99 * cov), Reference(cov[1], cov @ cov, 100, cov)
    apart = abs(own(compute)(a, b) / written(a, b) - 1)
    version = importlib.metadata.version(package)
    return own(compute), (
        f"{package} {version}: its own function (`{name}`; equal to the algebra as "
        f"written in the script to {apart:.0e} at d = 64)"
    )


def seeded(seed: int) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)
