"""How fast is a Frechet distance, and a curve of eight, beside the algebra in common use?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import page
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.files import write_atomically
from sde_diffusion.metrics.frechet import (
    Reference,
    frechet_curve,
    frechet_distance,
    frechet_of_features,
)
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.tasks.common import machine

D = 2048
COUNTS = [100, 500, 1000, 2000, 3000, 4000, 7000, 10000]
LARGE = [2500, 3000, 4000, 5000, 6000, 7000, 8500, 10000]
FEW = 512
CACHE = page.HERE.parent / "outputs" / "benchmark-distance"


def by_eigvals(a: FeatureStats, b: Reference) -> float:
    """torchmetrics' algebra: eigenvalues of the unsymmetric S S_0."""
    roots = torch.linalg.eigvals(a.cov @ b.cov).sqrt().real.sum()
    return float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * roots)


def by_sqrtm(a: FeatureStats, b: Reference) -> float:
    """pytorch-fid's algebra: sqrtm of S S_0, again with 1e-6 on both diagonals if not finite."""
    root = torch.as_tensor(sqrtm((a.cov @ b.cov).numpy()))
    if not root.isfinite().all():
        eye = 1e-6 * torch.eye(len(b.cov), dtype=torch.float64)
        root = torch.as_tensor(sqrtm(((a.cov + eye) @ (b.cov + eye)).numpy()))
    trace = root.real.trace()
    return float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * trace)


def features(n: int, seed: int) -> Tensor:
    """Rectified mixtures of Gaussians, each set of its own: a long spectrum and no dead feature."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=torch.Generator().manual_seed(0)) / D**0.5
    mix = mix * torch.linspace(2, 0.1, D)[:, None] + 0.02 * seed * torch.randn(D, D, generator=g)
    return torch.relu(torch.randn(n, D, generator=g) @ mix.T + 0.3)


def timed(do: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time (one thread; other processes do not count), and the result."""
    start = time.process_time()
    found = do()
    return time.process_time() - start, found


def compare(what: str, ways: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, Any]]:
    """Seconds and the result of each way, kept for a run that goes on."""
    found = {}
    for name, do in tqdm(ways.items(), desc=what):
        path = CACHE / f"{what}-{name}.json"
        if not path.is_file():
            CACHE.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(timed(do)).encode())
        seconds, result = json.loads(path.read_text())
        found[name] = seconds, result
    return found


def prefixes(
    x: Tensor, way: Callable[[FeatureStats, Reference], float], b: Reference, counts: list[int]
) -> list[float]:
    """The curve by another algebra, its statistics streamed once as ours are."""
    stats, done, found = FeatureStats.empty(D), 0, []
    for n in counts:
        stats, done = stats.update(x[done:n]), n
        found.append(way(stats, b))
    return found


def body(what: str, found: dict[str, tuple[float, Any]], targets: list[str]) -> list[str]:
    """A row of the table."""
    ours, *others = (seconds for seconds, _ in found.values())
    ratios = [f"{s / ours:.1f} ({t})" for s, t in zip(others, targets, strict=True)]
    return [what, f"{ours:.3g}", *(f"{s:.3g}" for s in others), *ratios]


def main() -> None:
    """Write distance.md."""
    torch.set_num_threads(1)
    x = features(COUNTS[-1], 1)
    stats, reference = FeatureStats.of(x), Reference.from_stats(FeatureStats.of(features(10000, 2)))
    few = x[:FEW]
    single = compare(
        "single",
        {
            "ours": lambda: frechet_distance(stats, reference).value,
            "eigvals": lambda: by_eigvals(stats, reference),
            "sqrtm": lambda: by_sqrtm(stats, reference),
        },
    )
    small = compare(
        "few",
        {
            "ours": lambda: frechet_of_features(few, reference).value,
            "eigvals": lambda: by_eigvals(FeatureStats.of(few), reference),
            "sqrtm": lambda: by_sqrtm(FeatureStats.of(few), reference),
        },
    )
    curve = compare(
        "curve",
        {
            "ours": lambda: [f.value for f in frechet_curve(x, reference, COUNTS)],
            "eigvals": lambda: prefixes(x, by_eigvals, reference, COUNTS),
            "sqrtm": lambda: prefixes(x, by_sqrtm, reference, COUNTS),
        },
    )
    above = compare(
        "above",
        {
            "ours": lambda: [f.value for f in frechet_curve(x, reference, LARGE)],
            "eigvals": lambda: prefixes(x, by_eigvals, reference, LARGE),
        },
    )
    rows = [
        body("one distance, statistics given", single, [">= 2.5", ">= 8"]),
        body(f"one distance of N = {FEW} features", small, [">= 20", ">= 100"]),
        body(
            f"curve of {len(COUNTS)}, N = {', '.join(map(str, COUNTS))}", curve, [">= 4", ">= 12"]
        ),
    ]
    head = ["d = 2048", "here, s", "eigvals, s", "sqrtm, s", "eigvals / here (target)",
            "sqrtm / here (target)"]  # fmt: skip
    exact = small["ours"][1]
    apart = [abs(small[k][1] - exact) / exact for k in ("eigvals", "sqrtm")]
    large = max(abs(v - w) / w for v, w in zip(above["eigvals"][1], above["ours"][1], strict=True))
    facts = machine()
    text = f"""# Seconds of a Frechet distance

Three ways in one run on the same float64 statistics, d = {D}: the one here (`eigvalsh` in the
coordinates of the reference's root, kept with the reference; the Gram matrix below N = d), and the
algebra of torchmetrics (`eigvals(S S_0)`) and of pytorch-fid (`scipy.linalg.sqrtm(S S_0)`, again
with 1e-6 on the diagonals if that is not finite), both written out in the script: at d = 64 they
were equal to those packages' own functions (1.9.0 and 0.3.0) to 1e-13; torch-fidelity 0.4 takes
the first with numpy. Processor seconds of one thread, which other processes do not lengthen. The
other two get the curve's statistics streamed in one pass, as here: only the algebra differs.

{page.table(head, rows)}

At N = {FEW} < d the values of the other two are off by {apart[0]:.1e} and {apart[1]:.1e} of the
distance ({exact:.6g}); above d all agree to {large:.1e}.

With all eight N above d ({LARGE[0]} to {LARGE[-1]}) no Gram matrix helps, and each point is an
eigenvalue problem of full size: {above["ours"][0]:.3g} s here, {above["eigvals"][0]:.3g} s by
`eigvals`, a factor of {above["eigvals"][0] / above["ours"][0]:.1f}.

## Where the numbers come from

- command: `python benchmarks/distance.py` (a killed run goes on)
- machine: {facts["machine"]}
- date: {facts["date"]}, revision: {facts["revision"]}
"""
    write_atomically(page.HERE / "distance.md", text.encode())


if __name__ == "__main__":
    main()
