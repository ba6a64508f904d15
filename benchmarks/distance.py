"""How fast and how exact is a Frechet distance beside the algebra in common use?

OMP_NUM_THREADS=1 times processor seconds, which other processes do not lengthen; 2 times the wall.
The page shows each number of threads that this was run with.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import page
import render
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.metrics.frechet import (
    Reference,
    frechet_curve,
    frechet_distance,
    frechet_of_features,
)
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import write_atomically

D, FEW = 2048, 512
MIXED = [100, 500, 1000, 2000, 3000, 4000, 7000, 10000]
ABOVE = [2500, 3000, 4000, 5000, 6000, 7000, 8500, 10000]
# Times the short ones are timed; the least counts.
ROUNDS, SHORT = 3, 5.0
THREADS = int(os.environ.get("OMP_NUM_THREADS", "0"))
CACHE = page.HERE.parent / "outputs" / "benchmark-distance"
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


def features(n: int, seed: int) -> Tensor:
    """Rectified mixtures of Gaussians, each set of its own: a long spectrum and no dead feature."""
    g = seeded(seed)
    mix = torch.randn(D, D, generator=seeded(0)) / D**0.5
    mix = mix * torch.linspace(2, 0.1, D)[:, None] + 0.02 * seed * torch.randn(D, D, generator=g)
    return torch.relu(torch.randn(n, D, generator=g) @ mix.T + 0.3)


@cache
def data() -> tuple[Tensor, FeatureStats, Reference]:
    """Features, their statistics, and the reference with its root."""
    x = features(MIXED[-1], 1)
    return x, FeatureStats.of(x), Reference.from_stats(FeatureStats.of(features(10000, 2)))


def prefixes(way: Way, counts: list[int]) -> list[float]:
    """The curve by another algebra, its statistics streamed once as ours are."""
    x, _, b = data()
    stats, done, found = FeatureStats.empty(D), 0, []
    for n in counts:
        stats, done = stats.update(x[done:n]), n
        found.append(way(stats, b))
    return found


def work(what: str, package: str) -> Any:
    """One measured thing: values of distances."""
    x, stats, b = data()
    counts = MIXED if what == "mixed" else ABOVE
    if package == "here":
        if what == "single":
            return frechet_distance(stats, b).value
        if what == "few":
            return frechet_of_features(x[:FEW], b).value
        return [f.value for f in frechet_curve(x, b, counts)]
    way = peer(package)[0]
    if what == "single":
        return way(stats, b)
    return way(FeatureStats.of(x[:FEW]), b) if what == "few" else prefixes(way, counts)


def timed(what: str, package: str) -> dict[str, Any]:
    """Seconds and values; every round of a run that was killed is kept."""
    found: dict[str, Any] = {}
    for k in range(ROUNDS):
        if found and found["seconds"] > SHORT:
            break
        path = CACHE / f"{THREADS}-{what}-{package}-{k}.json"
        if not path.is_file():
            CACHE.mkdir(parents=True, exist_ok=True)
            data(), package == "here" or peer(package)
            clock = time.process_time if THREADS == 1 else time.perf_counter
            start = clock()
            values = work(what, package)
            new = {"seconds": clock() - start, "values": values}
            write_atomically(path, json.dumps(new).encode())
        now = json.loads(path.read_text())
        found = now if not found or now["seconds"] < found["seconds"] else found
    return found


ROWS = {
    "single": ("one distance, statistics given", ">= 2.5", ">= 8"),
    "few": (f"one distance of N = {FEW} features", ">= 20", ">= 100"),
    "mixed": (f"curve, N = {', '.join(map(str, MIXED))}", ">= 4", ">= 12"),
    "above": (f"curve, N = {', '.join(map(str, ABOVE))}", ">= 4", ">= 12"),
}


def measured(what: str, package: str) -> dict[str, Any] | None:
    """What there is to time: curves by one package of the same algebra, the slowest way once."""
    left_out = [("mixed", "torch-fidelity"), ("above", "torch-fidelity"), ("above", "pytorch-fid")]
    if (what, package) in left_out:
        return None
    return timed(what, package)


def measure() -> dict[str, dict[str, dict[str, Any] | None]]:
    """Every row by every way."""
    names = ["here", *PEERS]
    return {
        what: {name: measured(what, name) for name in names} for what in tqdm(ROWS, desc="rows")
    }


def speeds(found: dict[str, dict[str, dict[str, Any] | None]]) -> str:
    """The table."""
    rows = []
    for what, (label, *targets) in ROWS.items():
        seconds = [None if way is None else way["seconds"] for way in found[what].values()]
        ours = seconds[0] or 0.0
        ratios = [
            "-" if s is None else f"{s / ours:.1f} ({t})"
            for s, t in zip(seconds[1:], (targets[0], targets[0], targets[1]), strict=True)
        ]
        rows.append([label, *map(render.shown, seconds), *ratios])
    head = [f"d = {D}", "here, s", *(f"{name}, s" for name in PEERS),
            *(f"{name} / here (target)" for name in PEERS)]  # fmt: skip
    return render.markdown(head, rows)


SMALL = 256
CONDITIONS = [1e0, 1e2, 1e4, 1e6]


def normal(n: int, seed: int) -> Tensor:
    """Standard normal [n, SMALL]."""
    return torch.randn(n, SMALL, dtype=torch.float64, generator=seeded(seed))


def covariance(condition: float, seed: int) -> Tensor:
    """Eigenvalues from 1 to 1 / condition on random axes."""
    q = torch.linalg.qr(normal(SMALL, seed))[0]
    return (q * condition ** -torch.linspace(0, 1, SMALL, dtype=torch.float64)) @ q.T


def stats_of(cov: Tensor) -> FeatureStats:
    """Exact statistics, of mean 0."""
    return FeatureStats(10**6, torch.zeros(SMALL, dtype=torch.float64), cov * (10**6 - 1))


def by_singular_values(x: Tensor, b: Reference) -> float:
    """The distance of few features by singular values, which have no square root of rounding."""
    roots = torch.linalg.svdvals((x - x.mean(0)) @ b.root).sum() / (len(x) - 1) ** 0.5
    shift2 = (x.mean(0) - b.mean).square().sum()
    return float(shift2 + x.var(0).sum() + b.cov.trace() - 2 * roots)


def errors(found: dict[str, float], true: float, scale: float) -> list[str]:
    """Cells of a row."""
    return [f"{abs(value - true) / scale:.0e}" for value in found.values()]


def digits() -> str:
    """Errors where the distance is known, here and by the peers."""
    rows = []
    ways = {name: peer(name)[0] for name in PEERS}
    for condition in CONDITIONS:
        cov_0, t = covariance(condition, 1), covariance(10.0, 2)
        for what, cov, cross, target in (
            ("S = T S_0 T", t @ cov_0 @ t, float((t @ cov_0).trace()), "1e-12"),
            ("S = S_0", cov_0, float(cov_0.trace()), "1e-9"),
        ):
            a, b = stats_of(cov), Reference.from_stats(stats_of(cov_0))
            scale = float(cov.trace() + cov_0.trace())
            values = {"here": frechet_distance(a, b).value, **{k: w(a, b) for k, w in ways.items()}}
            true = scale - 2 * cross
            if what == "S = S_0":
                scale = float(cov.trace())
            rows.append(
                [f"{what}, condition {condition:.0e}", target, *errors(values, true, scale)]
            )
    b = Reference.from_stats(stats_of(covariance(1e4, 1)))
    for what, n in (("", 2), ("", SMALL // 4), ("", SMALL), ("half of the features dead, ", 2000)):
        x = normal(n, 3) + 0.3
        if what:
            x[:, ::2] = 0.5
        a = FeatureStats.of(x)
        values = {"here": frechet_of_features(x, b).value, **{k: w(a, b) for k, w in ways.items()}}
        scale = float(a.cov.trace() + b.cov.trace())
        rows.append([f"{what}N = {n}", "1e-9", *errors(values, by_singular_values(x, b), scale)])
    x = normal(2000, 4) + 10
    whole = FeatureStats.of(x)
    for what, order in (("batches of 7", range(0, 2000, 7)), ("reversed", range(1993, -7, -7))):
        parts = [x[max(i, 0) : i + 7] for i in order]
        streamed = FeatureStats.empty(SMALL)
        for part in parts:
            streamed = streamed.update(part)
        apart = float((streamed.cov - whole.cov).abs().max()) / float(whole.cov.trace())
        rows.append(
            [f"covariance in {what}, mean 10", "1e-12", f"{apart:.0e}", *["-"] * len(PEERS)]
        )
    head = ["known case", "target", "here", *PEERS]
    return render.markdown(head, rows)


def main() -> None:
    """Write distance.md."""
    if THREADS < 1:
        raise SystemExit("set OMP_NUM_THREADS to 1, or to the cores that are free")
    torch.set_num_threads(THREADS)
    known = CACHE / f"{THREADS}.json"
    found = measure()
    write_atomically(known, json.dumps({"found": found, "machine": machine()["machine"]}).encode())
    values = {
        what: {name: np.array(way["values"]) for name, way in ways.items() if way}
        for what, ways in found.items()
    }
    off = {name: abs(v / values["few"]["here"] - 1) for name, v in values["few"].items()}
    large = max(float(abs(v / values["above"]["here"] - 1).max()) for v in values["above"].values())
    tables = []
    for path in sorted(CACHE.glob("?.json")):
        kept = json.loads(path.read_text())
        kind = "processor time, 1 thread" if path.stem == "1" else f"wall time, {path.stem} threads"
        tables += [f"Seconds of {kind} ({kept['machine']}):", speeds(kept["found"])]
    wrong = "; ".join(f"{k} {float(v):.1e}" for k, v in off.items() if k != "here")
    text = f"""# Seconds and digits of a Frechet distance

In one run, on the same float64 statistics, beside the public ways:

{chr(10).join(f"- {peer(package)[1]}" for package in PEERS)}

Here it is `eigvalsh` in the coordinates of the reference's root, which is kept with the reference;
the Gram matrix below N = d. The others get the curve's statistics streamed in one pass, as here:
only the algebra differs. The least of {ROUNDS} rounds where one takes less than {SHORT:.0f} s.

{(chr(10) * 2).join(tables)}

The first curve goes from N < d, where a Gram matrix serves, to N > d; in the second each point is
an eigenvalue problem of full size. Curves by numpy, and the second one by `sqrtm`, are left out:
eight single distances, as those above them.

## Digits

Errors over tr S + tr S_0 (of S = S_0 over tr S) at d = {SMALL} where the distance is known:
Gaussians with S = T S_0 T, whose cross term is tr T S_0 (Dowson & Landau 1982; T of condition 10),
features against singular values in place of eigenvalues (S_0 of condition 1e+04), and covariances
streamed.

{digits()}

In the timings above, at N = {FEW} < d the others' values are off by this part of the distance
({float(values["few"]["here"]):.6g}): {wrong}. Above d all agree to {large:.0e}.

## Where the numbers come from

- command: `OMP_NUM_THREADS=1 python benchmarks/distance.py` (a killed run goes on), beside
  `pip install --no-deps torchmetrics lightning-utilities torch-fidelity pytorch-fid` and
  torchvision or a stand-in for it; `OMP_NUM_THREADS=2` adds a table of wall times, for a machine
  that is otherwise idle
- date: {machine()["date"]}, revision: {machine()["revision"]}
"""
    render.written("distance", text)
    print(text)


if __name__ == "__main__":
    main()
