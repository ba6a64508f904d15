"""``python -m tests.mutants.alarms --seeds 200``: how often the checks by chance cry wolf.

Every check that draws random numbers, on solvers as they are, from ``--seeds`` seeds: a check that
fails is a false alarm. The seeds take the six SDEs in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from tests.solvers import laws
from tests.solvers.configs import CASES, title
from tests.solvers.conftest import SDES, make
from tests.solvers.level_oracles import LEVELS
from tests.solvers.test_adaptive_sde import check_the_law
from tests.solvers.test_langevin import check_the_chain
from tests.solvers.time_oracles import TIMES

Seeded = Callable[[str, int], None]  # SDE and seed


def seeded() -> dict[str, Seeded]:
    """The checks, by what they are called."""
    found: dict[str, Seeded] = {}
    for case in CASES:
        solver = make(*case)[0]
        if len(case) > 1:
            continue
        if solver.adaptive:
            found[f"chi-square of each mode: {title(case)}"] = partial(_law, case)
        elif solver.stochastic and case[0] in {*LEVELS, *TIMES}:
            found[f"sample as the scalar recursion: {title(case)}"] = partial(_sample, case)
    found["law of the Langevin chain"] = _chain
    found["chi-square at tight tolerances: adaptive_sde"] = check_the_law
    return found


def _law(case: tuple[str, ...], sde: str, seed: int) -> None:
    """Over all noise levels and over a part of them, in turn."""
    laws.check_black_box_law(case, sde, seed, ends=laws.SHORT if seed % 4 < 2 else laws.WIDE)


def _sample(case: tuple[str, ...], sde: str, seed: int) -> None:
    laws.check_samples(case, sde, seed)


def _chain(sde: str, seed: int) -> None:
    """Annealed and as a corrector, norms of a sample and of a batch, in turn."""
    norm = "batch" if seed // 2 % 2 else "sample"
    check_the_chain(sde, predict=seed % 2 == 1, norm=norm, seed=seed)


def alarms(seed: int) -> list[tuple[str, str]]:
    """(check, message) of every check that fails at this seed."""
    torch.set_num_threads(1)
    sde, found = list(SDES)[seed % len(SDES)], []
    for name, check in seeded().items():
        try:
            check(sde, seed)
        except AssertionError as error:
            found.append((name, f"{sde}, seed {seed}: {error}"))
    return found


def main() -> None:
    """Run the checks from many seeds and count the alarms."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.alarms", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--out", type=Path, help="a JSON file of the counts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    asked = parser.parse_args()
    begin = time.perf_counter()
    counts = dict.fromkeys(seeded(), 0)
    with ProcessPoolExecutor(asked.jobs) as pool:
        for done, found in enumerate(pool.map(alarms, range(asked.seeds)), 1):
            for name, message in found:
                counts[name] += 1
                print(f"{name}: {message}", flush=True)
            seconds = time.perf_counter() - begin
            if asked.out:
                so_far = {"seconds": seconds, "seeds": done, "alarms": counts}
                asked.out.write_text(json.dumps(so_far, indent=1) + "\n")
    total = len(counts) * asked.seeds
    print(f"{sum(counts.values())} false alarms in {total} checks; {seconds:.0f} s")


if __name__ == "__main__":
    main()
