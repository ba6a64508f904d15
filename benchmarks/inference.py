"""Is the corrected Fréchet distance right, and does its interval cover, where truth is known?"""

from __future__ import annotations

import json
import math

import page
import render
import torch
from inference_laws import F64, FAMILIES, D, seeded
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.metrics.bootstrap import bootstrap_error
from sde_diffusion.metrics.extrapolation import fd_infinity
from sde_diffusion.metrics.frechet import Reference, frechet_of_features
from sde_diffusion.metrics.inference import Z95, debiased
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.system.storage import write_atomically

REPLICATES, BOOTSTRAPS = 1000, 20
RATIOS = [5, 10, 24]
REFERENCES = [None, 10]  # n_0 / d; None: exact
REQUIRED = ["Gaussian", "ReLU features", "S = S_0"]  # coverage within 0.92 to 0.999
CACHE = page.HERE.parent / "outputs" / "benchmark-inference"


def delta_method(x: Tensor, reference: Reference) -> tuple[float, float]:
    """Value and error of the expansion at the estimate, of the generated side alone."""
    mean, cov, n = x.mean(0), x.T.cov(), len(x)
    values, vectors = torch.linalg.eigh(reference.root.T @ cov @ reference.root)
    s, centred = values.sqrt(), x - mean
    y2 = (centred @ reference.root @ vectors).square()
    influence = 2 * centred @ (mean - reference.mean) + centred.square().sum(1) - y2 @ (1 / s)
    fourth = y2.T @ y2 / n - torch.diag(values**2)
    bias = cov.trace() + 0.5 * (fourth / (s[:, None] * s * (s[:, None] + s))).sum()
    plug_in = frechet_of_features(x, reference).value
    return plug_in - float(bias) / n, float(influence.std()) / n**0.5


# Columns: plug-in, ours, our error, inside; the twin's value, inside; FID-infinity.
COLUMNS = 7


def replicates(name: str, ratio: int, of_reference: int | None) -> Tensor:
    """[REPLICATES, COLUMNS] of one case; the twin is the delta method, or the i.i.d. formula."""
    path = CACHE / f"{name}-{ratio}-{of_reference}.json".replace(" ", "_")
    if path.is_file():
        return torch.tensor(json.loads(path.read_text()), dtype=F64)
    family, g, rows = FAMILIES[name](), seeded(1000 + ratio), []
    true, n = family.true, ratio * D
    labels = None if family.classes is None else torch.arange(n) % family.classes
    mean_0, cov_0 = family.moments_0
    reference = Reference(mean_0, cov_0, 10**9, torch.linalg.cholesky(cov_0))
    x_0 = None
    for k in tqdm(range(REPLICATES), desc=path.stem):
        x = family.draw(n, g)
        if of_reference is not None:
            x_0 = family.draw_0(of_reference * D, g)
            reference = Reference.from_stats(FeatureStats.of(x_0))
        found = debiased(x, reference, x_0, labels)
        assert found.value is not None
        assert found.standard_error is not None
        if labels is not None:
            other = debiased(x, reference, x_0)
            twin = other.value or 0.0, other.standard_error or 0.0
        else:
            twin = delta_method(x, reference)
        wanted = name == "ReLU features" and of_reference is None
        rows.append([
            frechet_of_features(x, reference).value,
            found.value,
            found.standard_error,
            abs(found.value - true) <= Z95 * found.standard_error,
            twin[0],
            abs(twin[0] - true) <= Z95 * twin[1],
            fd_infinity(x, reference, seed=k) if wanted else math.nan,
        ])  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([[float(v) for v in row] for row in rows]).encode())
    return torch.tensor(rows, dtype=F64)


def bias_table() -> render.Table:
    """Mean error in percent of the true distance, on ReLU features with an exact reference."""
    true, rows = FAMILIES["ReLU features"]().true, []
    for ratio in RATIOS:
        table = replicates("ReLU features", ratio, None)
        errors = {k: (float(table[:, i].mean()) / true - 1) * 100
                  for k, i in (("plug", 0), ("inf", 6), ("delta", 4), ("ours", 1))}  # fmt: skip
        noise_of_mean = float(table[:, 1].std()) / true / REPLICATES**0.5 * 100
        spread = float(table[:, 1].std() / table[:, 6].std())
        rows.append([f"{ratio} d", *(f"{e:+.1f} %" for e in errors.values()),
                     f"{noise_of_mean:.1f} %", f"{spread:.2f}"])  # fmt: skip
    head = ["N", "plug-in", "FID-infinity, 15 points", "delta method", "here",
            "noise of these means", "spread here / FID-infinity"]  # fmt: skip
    return render.table(head, rows)


def coverage_table() -> render.Table:
    """Coverage, what is left of the bias, and the error against the true spread."""
    rows = []
    for name in (f for f in FAMILIES if f != "classes in rotation"):
        true = FAMILIES[name]().true
        for size in REFERENCES if name in REQUIRED else [None]:
            row = [name, "exact" if size is None else f"{size} d"]
            for ratio in RATIOS:
                table = replicates(name, ratio, size)
                plug_in, ours = float(table[:, 0].mean()), float(table[:, 1].mean())
                ratio_of_errors = float(table[:, 2].square().mean().sqrt() / table[:, 1].std())
                delta = f"; {float(table[:, 5].mean()):.3f}" if size is None else ""
                row.append(f"{float(table[:, 3].mean()):.3f}{delta} "
                           f"({(ours - true) / (plug_in - true) * 100:+.1f} %, "
                           f"{ratio_of_errors:.2f})")  # fmt: skip
            rows.append(row)
    return render.table(["features", "reference", *(f"N = {r} d" for r in RATIOS)], rows)


def strata_table() -> render.Table:
    """The same with and without ``strata``."""
    true, rows = FAMILIES["classes in rotation"]().true, []
    for ratio in RATIOS:
        table = replicates("classes in rotation", ratio, None)
        bias = float(table[:, 0].mean()) - true
        left = [f"{(float(table[:, i].mean()) - true) / bias * 100:+.1f} %" for i in (1, 4)]
        inside = [f"{float(table[:, i].mean()):.3f}" for i in (3, 5)]
        rows.append([f"{ratio} d", f"{bias / true * 100:+.0f} %", left[0], inside[0], left[1],
                     inside[1]])  # fmt: skip
    head = ["N", "plug-in error", "bias left", "coverage", "bias left, i.i.d. formula",
            "coverage, i.i.d. formula"]  # fmt: skip
    return render.table(head, rows)


def bootstrap_table() -> render.Table:
    """Standard errors by two ways that share nothing, beside the spread over all replicates."""
    rows = []
    for name in ("Gaussian", "ReLU features"):
        family = FAMILIES[name]()
        mean_0, cov_0 = family.moments_0
        reference = Reference(mean_0, cov_0, 10**9, torch.linalg.cholesky(cov_0))
        for ratio in RATIOS:
            table, g = replicates(name, ratio, None), seeded(2000 + ratio)
            samples = [family.draw(ratio * D, g) for _ in range(BOOTSTRAPS)]
            errors = [
                bootstrap_error(x, reference, seed=k)
                for k, x in enumerate(tqdm(samples, desc=f"bootstrap {name} {ratio} d"))
            ]
            known = (table[:, 1].std(), table[:, 2].mean(), torch.tensor(errors).mean())
            rows.append([name, f"{ratio} d", *(f"{float(v):.4f}" for v in known)])
    head = ["features", "N", "spread of the corrected value", "leave-one-out", "blocks of seeds"]
    return render.table(head, rows)


def withheld() -> str:
    """What a result says just below N = 5 d."""
    family = FAMILIES["Gaussian"]()
    reference = Reference.from_stats(FeatureStats.of(family.draw_0(10 * D, seeded(1))))
    found = debiased(family.draw(5 * D - 1, seeded(2)), reference)
    assert found.value is None
    assert found.interval is None
    return found.note


def main() -> None:
    """Write inference.md."""
    torch.set_num_threads(1)
    tables = bias_table(), coverage_table(), strata_table(), bootstrap_table()
    values = {
        "d": D,
        "replicates": REPLICATES,
        "true": FAMILIES["ReLU features"]().true,
        "bias": tables[0],
        "just_below": 5 * D - 1,
        "withheld": withheld(),
        "coverage": tables[1],
        "strata": tables[2],
        "bootstraps": BOOTSTRAPS,
        "bootstrap": tables[3],
    }
    render.page("inference", values)


if __name__ == "__main__":
    main()
