"""How fast and how exact is a Fréchet distance beside the algebra in common use?

OMP_NUM_THREADS=1 times processor seconds, which other processes do not lengthen; 2 times the wall.
The page shows each number of threads that this was run with.
"""

from __future__ import annotations

import json
import os
import time
from functools import cache
from typing import Any

import numpy as np
import page
import render
import torch
from distance_digits import SMALL, digits
from distance_peers import PEERS, Way, peer, seeded
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


def speeds(found: dict[str, dict[str, dict[str, Any] | None]]) -> render.Table:
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
    return render.table(head, rows)


def main() -> None:
    """Write distance.md."""
    if THREADS < 1:
        raise SystemExit("set OMP_NUM_THREADS to 1, or to the cores that are free")
    torch.set_num_threads(THREADS)
    known = CACHE / f"{THREADS}.json"
    found = measure()
    write_atomically(known, json.dumps({"found": found, "machine": machine()["machine"]}).encode())
    answers = {
        what: {name: np.array(way["values"]) for name, way in ways.items() if way}
        for what, ways in found.items()
    }
    off = {name: abs(v / answers["few"]["here"] - 1) for name, v in answers["few"].items()}
    large = max(
        float(abs(v / answers["above"]["here"] - 1).max()) for v in answers["above"].values()
    )
    tables = []
    for path in sorted(CACHE.glob("?.json")):
        kept = json.loads(path.read_text())
        kind = "processor time, 1 thread" if path.stem == "1" else f"wall time, {path.stem} threads"
        tables += [f"Seconds of {kind} ({kept['machine']}):", speeds(kept["found"])]
    wrong = "; ".join(f"{k} {float(v):.1e}" for k, v in off.items() if k != "here")
    values = {
        "peers": "\n".join(f"- {peer(package)[1]}" for package in PEERS),
        "rounds": ROUNDS,
        "short": SHORT,
        "speeds": "\n\n".join(tables),
        "small": SMALL,
        "digits": digits(),
        "few": FEW,
        "distance": float(answers["few"]["here"]),
        "wrong": wrong,
        "large": large,
    }
    render.page("distance", values)


if __name__ == "__main__":
    main()
