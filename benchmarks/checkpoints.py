"""Are other people's checkpoints opened as the functions that they are, and drawn as by their code?

``python benchmarks/checkpoints.py``: the formats, by the cases of ``tests/models`` and
``tests/peers``; with FOLDER, of a run of ``network=diffusers``: it, drawn by diffusers and by ours
(``checkpoints_real.py``). Each keeps the other's numbers. The extra [peers] is needed.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import checkpoints_foreign
import checkpoints_real
import page
import render

sys.path.insert(0, str(page.HERE.parent))
from sde_diffusion import load
from sde_diffusion.errors import InputError
from sde_diffusion.models.schedulers import read_schedule
from tests.models import test_diffusers as diffusers
from tests.models.test_hostile_folders import HOSTILE
from tests.models.test_schedulers import PUBLIC
from tests.peers import test_consistency as consistency
from tests.peers import test_diffusers_folders as folders
from tests.peers import test_latent_pipelines as latents

NAME = "checkpoints"
WEIGHTS, WALKS = 1e-5, 1e-4  # what is held

place = tempfile.TemporaryDirectory


def schedulers() -> Iterator[tuple[str, int, float, float]]:
    """Scheduler of diffusers, its cases, and the largest relative difference at 10 and 28 steps."""
    by: dict[str, list[str]] = {}
    for case, peer in folders.CASES.items():
        by.setdefault(peer.name, []).append(case)
    for name, cases in by.items():
        worst = []
        for n in (10, 28):
            gaps = []
            for case in cases:
                with place() as folder:
                    gaps.append(folders.gap(Path(folder), folders.CASES[case], n))
            worst.append(max(gaps))
        yield name, len(cases), worst[0], worst[1]


def exceptions() -> Iterator[list[str]]:
    """What a scheduler does otherwise: its difference from ours, and from its own way."""
    for said, gaps in folders.EXCEPTIONS.items():
        with place() as folder:
            yield [said, *(f"{gap:.1e}" for gap in gaps(Path(folder)))]


def pipelines() -> Iterator[list[str]]:
    """Pipeline of latents and scheduler, the relative difference of its latents."""
    for name in latents.CASES:
        with place() as folder:
            _, theirs, ours = latents.drawn_twice(Path(folder), name)
        gap = float((ours.x - theirs).abs().max() / theirs.abs().max())
        yield [name, shown(gap, WALKS)]


def ends() -> Iterator[list[Any]]:
    """Consistency model, and the relative difference of its image after 1, 2 and 4 steps."""
    for case, (name, _) in consistency.CASES.items():
        gaps = []
        for n in (1, 2, 4):
            with place() as folder:
                gaps.append(shown(consistency.gap(Path(folder), case, n), WALKS))
        yield [name, case, *gaps]


def configs() -> Iterator[list[Any]]:
    """Class of a public config, its keys, those that are honoured, and the names of the others."""
    for config in PUBLIC:
        keys = sorted(key for key in config if not key.startswith("_"))
        try:
            found = {finding.key: finding for finding in read_schedule(config).findings}
        except InputError:
            yield [config["_class_name"], len(keys), "-", "refused in one line"]
            continue
        assert set(keys) <= set(found)
        undone = [key for key in keys if not found[key].honoured]
        yield [config["_class_name"], len(keys), len(keys) - len(undone), ", ".join(undone) or "-"]


def hostile() -> dict[str, Any]:
    """How many folders that lie were refused in one line, and the most memory that one took."""
    refused, most = 0, 0
    for spoil in HOSTILE.values():
        with place() as folder, contextlib.chdir(folder):
            path = diffusers.written(Path(folder) / "folder", diffusers.unet())
            spoil(path)
            tracemalloc.start()
            try:
                load(path)
            except InputError as error:
                refused += "\n" not in str(error)
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert not (Path(folder) / "ran").exists()
    return {"files": len(HOSTILE), "refused": refused, "mebibytes": most / 2**20}


def shown(gap: float, tolerance: float) -> str:
    return f"{gap:.1e}" if gap < tolerance else f"**{gap:.1e}**"


def formats() -> dict[str, Any]:
    """All that needs no trained network."""
    nets, walks = list(checkpoints_foreign.networks()), list(checkpoints_foreign.authors())
    peers, latent = list(schedulers()), list(pipelines())
    public = list(configs())
    return {
        "networks": render.table(["file", "difference"], [[a, shown(b, WEIGHTS)] for a, b in nets]),
        "authors": render.table(["sampler", "apart"], [[a, shown(b, WALKS)] for a, b in walks]),
        "schedulers": render.table(
            ["scheduler", "cases", "10 steps", "28 steps"],
            [[a, n, shown(b, WALKS), shown(c, WALKS)] for a, n, b, c in peers],
        ),
        "exceptions": render.table(
            ["what it does otherwise", "from ours", "from its own way"], list(exceptions())
        ),
        "latents": render.table(["pipeline", "difference"], latent),
        "ends": render.table(["scheduler", "case", "1 step", "2", "4"], list(ends())),
        "worst": {
            "networks": max(gap for _, gap in nets), "authors": max(gap for _, gap in walks),
            "schedulers": max(max(row[2:]) for row in peers),
        },
        "configs": render.table(["scheduler", "keys", "honoured", "named"], public),
        "count": {"configs": len(public), "schedulers": sum(row[1] for row in peers)},
        "hostile": hostile(), "diffusers": version("diffusers"),
    }  # fmt: skip


def main() -> None:
    """Write checkpoints.md: what was asked for anew, the rest as it was."""
    kept, part = render.RESULTS / f"{NAME}.json", "real" if sys.argv[1:] else "formats"
    values = json.loads(kept.read_text())["values"] if kept.is_file() else {}
    if sys.argv[1:]:
        values |= {"drawn": checkpoints_real.measured(Path(sys.argv[1]))}
    else:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            values |= formats()
    values["runs"] = {**values.get("runs", {}), part: ", ".join(render.made().values())}
    render.page(NAME, values, [f"{key}: {run}" for key, run in values["runs"].items()])


if __name__ == "__main__":
    main()
