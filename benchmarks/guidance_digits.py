"""Guidance on the shipped digits: each kind at its best setting, paired by noise."""

from __future__ import annotations

from typing import Any

import page
import render
import torch

from sde_diffusion import DDIM, DPMpp2M, load
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.judge import Judge
from sde_diffusion.metrics.prdc import PRDC
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.report.ranking import rank
from sde_diffusion.solvers.guided.apg import APGMomentum
from sde_diffusion.solvers.guided.cfg_zero import CFGZero
from sde_diffusion.solvers.guided.cfgpp import CFGpp
from sde_diffusion.system.storage import asset

CALLS, CHOOSING, JUDGING = 8, 400, 1000
CHOSEN_ON, JUDGED_ON = 100_000, 0  # first seeds
SCALES = (1.25, 1.5, 2.0, 3.0)
OUTPUTS = page.HERE.parent / "outputs" / "benchmark-guidance-digits"
Setting = tuple[str, dict[str, Any]]


def settings() -> dict[str, list[Setting]]:
    """What ``sample`` is told, by the kind of guidance and by what is chosen among."""
    kinds: dict[str, list[Setting]] = {"none": [("-", {"nfe": CALLS})]}
    for name, fields in {
        "cfg": {}, "interval": {"low": 0.2, "high": 3.0}, "rescaled": {}, "apg": {},
    }.items():  # fmt: skip
        kinds[name] = [
            (f"{scale:g}", {"guidance": name, f"guidance__{name}__scale": scale}
             | {f"guidance__{name}__{key}": value for key, value in fields.items()})
            for scale in SCALES
        ]  # fmt: skip
    kinds["cfg, threshold"] = [
        (f"{scale:g}", {"guidance": ["cfg", "threshold"], "guidance__cfg__scale": scale})
        for scale in SCALES
    ]
    kinds["cfg, ddim"] = [
        (f"{scale:g}", {"solver": DDIM(), "guidance": "cfg", "guidance__cfg__scale": scale})
        for scale in SCALES
    ]
    kinds["apg, momentum"] = [
        (f"{scale:g}", {"solver": APGMomentum(DPMpp2M(), scale)}) for scale in SCALES
    ]
    kinds["CFG-Zero*, ddim"] = [
        (f"{scale:g}", {"solver": CFGZero(DDIM(), scale), "nfe": 2 * CALLS - 2}) for scale in SCALES
    ]
    kinds["CFG++, ddim"] = [
        (f"{scale:g}", {"solver": CFGpp(DDIM(), scale)}) for scale in (0.2, 0.3, 0.4, 0.6)
    ]
    return kinds


def features(kind: str, setting: Setting, first: int, n: int) -> torch.Tensor:
    """[n, d] of images under labels in rotation, done once."""
    label, words = setting
    path = f"{kind}-{label}-{first}-{n}".replace(" ", "_").replace("*", "")

    def draw() -> dict[str, Any]:
        told = {"solver": DPMpp2M(), "nfe": 2 * CALLS, **words}
        images = load("mnist").sample(seeds=range(first, first + n), label="all", **told).images
        return {"features": CnnExtractor("mnist-cnn")(images).tolist()}

    return torch.tensor(page.once(OUTPUTS, path, draw)["features"], dtype=torch.float64)


def section() -> list[str]:
    """The table of the page."""
    known = ReferenceSet.load(asset("mnist-cnn-reference"), CnnExtractor("mnist-cnn"))
    judge = Judge(known.reference, known.features, [PRDC(most=2000)])
    chosen, rows, found = {}, [], {}
    for kind, among in settings().items():
        labels = torch.arange(CHOOSING) % 10
        tried = {
            setting[0]: judge.rows(
                features(kind, setting, CHOSEN_ON, CHOOSING), [CHOOSING], labels
            )[0]["fd_debiased"]
            for setting in among
        }
        chosen[kind] = min(tried, key=tried.__getitem__)
        setting = next(setting for setting in among if setting[0] == chosen[kind])
        found[kind] = features(kind, setting, JUDGED_ON, JUDGING)
        row = judge.rows(found[kind], [JUDGING], torch.arange(JUDGING) % 10)[0]
        rows.append({**row, "solver": kind, "nfe": 2 * CALLS})
    ranking = rank(rows, found, judge.reference, judge.sufficient, torch.arange(JUDGING) % 10)
    standing = {each.solver: each for each in ranking.standings}
    cells = []
    for row in sorted(rows, key=lambda row: row["fd_debiased"]):
        own = standing[row["solver"]]
        gap = "the best" if own.difference is None else (
            f"{own.difference:.3f} [{own.low:.3f}, {own.high:.3f}]"
        )  # fmt: skip
        cells.append([
            row["solver"], chosen[row["solver"]], f"{row['fd']:.3f}",
            f"{row['fd_debiased']:.3f} [{row['fd_low']:.3f}, {row['fd_high']:.3f}]", gap,
            f"{row['precision']:.3f}", f"{row['recall']:.3f}",
        ])  # fmt: skip
    head = ["guidance", "scale", "FD[mnist-cnn]", "bias removed", "less the best's",
            "precision", "recall"]  # fmt: skip
    return [
        "## On digits",
        f"The shipped model, labels in rotation, {CALLS} guided calls (unguided, as many "
        f"evaluations as calls). The scale of each is the best of those tried on {CHOOSING} "
        f"seeds; the numbers are of {JUDGING} others, the same noise for all, the intervals of "
        "differences hold together.",
        render.markdown(head, cells),
    ]
