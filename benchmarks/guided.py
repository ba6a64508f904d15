"""What does guidance buy? Each kind at its best setting on a shipped model, paired.

``python benchmarks/guided.py [digits] [shapes]``; of digits, MNIST in ``MNIST_ROOT``.
"""

from __future__ import annotations

import sys
from typing import Any

import page
import render
import torch
from guided_models import CASES, Case
from prompts import rate

from sde_diffusion import DDIM, DPMpp2M, load
from sde_diffusion.metrics.judge import Judge
from sde_diffusion.metrics.prdc import PRDC
from sde_diffusion.report.ranking import rank
from sde_diffusion.solvers.guided.apg import APGMomentum
from sde_diffusion.solvers.guided.cfg_zero import CFGZero
from sde_diffusion.solvers.guided.cfgpp import CFGpp

CALLS = 8
CHOSEN_ON = 100_000  # the first seed of those that choose; those that judge begin at 0
PARTS = 10  # of the jackknife
OUTPUTS = page.HERE.parent / "outputs" / "benchmark-guided"
Setting = tuple[str, dict[str, Any]]


def scaled(case: Case, name: str, **fields: Any) -> list[Setting]:
    """One guidance at every scale."""
    told = {f"guidance__{name}__{key}": value for key, value in fields.items()}
    return [
        (f"{scale:g}", {"guidance": name, f"guidance__{name}__scale": scale, **told})
        for scale in case.scales
    ]


def settings(case: Case) -> dict[str, list[Setting]]:
    """What ``sample`` is told, by the kind of guidance and by what is chosen among."""
    kinds: dict[str, list[Setting]] = {
        "none": [("-", {"nfe": CALLS})],
        "cfg": scaled(case, "cfg"),
        "interval .2 to 3": scaled(case, "interval", low=0.2, high=3.0),
        "auto": scaled(case, "auto", model=str(case.worse(OUTPUTS))),
        "rescaled": scaled(case, "rescaled"),
        "apg": scaled(case, "apg"),
    }
    kinds["cfg, threshold"] = [
        (scale, {**words, "guidance": ["cfg", "threshold"]}) for scale, words in kinds["cfg"]
    ]
    kinds["cfg, ddim"] = [(scale, {**words, "solver": DDIM()}) for scale, words in kinds["cfg"]]
    kinds["apg, momentum"] = [
        (f"{scale:g}", {"solver": APGMomentum(DPMpp2M(), scale)}) for scale in case.scales
    ]
    kinds["CFG-Zero*, ddim"] = [
        (f"{scale:g}", {"solver": CFGZero(DDIM(), scale), "nfe": 2 * CALLS - 2})
        for scale in case.scales
    ]
    kinds["CFG++, ddim"] = [
        (f"{scale:g}", {"solver": CFGpp(DDIM(), scale)}) for scale in (0.2, 0.4, 0.6)
    ]
    return kinds


def drawn(case: Case, kind: str, setting: Setting, first: int, n: int) -> dict[str, torch.Tensor]:
    """Features [n, d] of images, and which of them are what was asked for [n], done once."""
    label, words = setting
    path = f"{case.name}-{kind}-{label}-{first}-{n}".replace(" ", "_").replace("*", "")

    def draw() -> dict[str, Any]:
        told = {"solver": DPMpp2M(), "nfe": 2 * CALLS, **case.asked(first, n), **words}
        model = load(case.model, precision="bfloat16")
        found = model.sample(seeds=range(first, first + n), **told)
        return {
            "features": case.extractor.features(found.images).tolist(), "nfe": found.nfe,
            "right": case.right(found.images, first),
        }  # fmt: skip

    found = page.once(OUTPUTS, path, draw)
    return {
        "features": torch.tensor(found["features"], dtype=torch.float64),
        "right": torch.tensor(found["right"], dtype=torch.float64),
        "nfe": torch.tensor(found["nfe"]),
    }


def spread(features: torch.Tensor, prepared: Any, metric: PRDC) -> dict[str, str]:
    """Precision and recall with 95 % intervals: the jackknife over ten parts of the seeds."""
    whole = metric.measure(features, prepared)
    part = torch.arange(len(features)) % PARTS
    left = [metric.measure(features[part != k], prepared) for k in range(PARTS)]
    text = {}
    for name in ("precision", "recall"):
        values = torch.tensor([each[name] for each in left], dtype=torch.float64)
        error = float((values - values.mean()).square().sum() * (PARTS - 1) / PARTS) ** 0.5
        text[name] = f"{whole[name]:.3f} ± {1.96 * error:.3f}"
    return text


def more(right: torch.Tensor, plain: torch.Tensor) -> str:
    """By how many per cent more are right, seed by seed, with a 95 % interval."""
    gap = 100 * (right - plain)
    half = 1.96 * float(gap.std()) / len(gap) ** 0.5
    return f"{float(gap.mean()):.1f} ± {half:.1f}"


def judged(case: Case) -> str:
    """The table of one model: each kind at the setting that was best on other seeds."""
    known, metric = case.reference(), PRDC(most=2000)
    judge = Judge(known.reference, known.features)
    prepared = metric.prepare(known.features.double())
    chosen, rows, found = {}, [], {}
    for kind, among in settings(case).items():
        tried = {}
        for setting in among if len(among) > 1 else ():
            each = drawn(case, kind, setting, CHOSEN_ON, case.choosing)
            row = judge.rows(each["features"], [case.choosing], case.strata(case.choosing))[0]
            tried[setting[0]] = case.worth(row["fd"], float(each["right"].mean()))
        chosen[kind] = max(tried, key=tried.__getitem__, default=among[0][0])
        setting = next(setting for setting in among if setting[0] == chosen[kind])
        found[kind] = drawn(case, kind, setting, 0, case.judging)
        row = judge.rows(found[kind]["features"], [case.judging], case.strata(case.judging))[0]
        rows.append({**row, "solver": kind, "nfe": 2 * CALLS})
    features = {kind: each["features"] for kind, each in found.items()}
    ranking = rank(rows, features, judge.reference, judge.sufficient, case.strata(case.judging))
    cells = []
    for own in ranking.standings:
        mine = found[own.solver]
        row = next(row for row in rows if row["solver"] == own.solver)
        both = spread(mine["features"], prepared, metric)
        gap = "the best" if own.difference is None else (
            f"{own.difference:.3f} [{own.low:.3f}, {own.high:.3f}]"
        )  # fmt: skip
        cells.append([
            own.solver, chosen[own.solver], f"{float(mine['nfe']):g}",
            f"{row['fd_debiased']:.3f} [{row['fd_low']:.3f}, {row['fd_high']:.3f}]", gap,
            both["precision"], both["recall"],
            rate(int(mine["right"].sum()), case.judging),
            "-" if own.solver == "none" else more(mine["right"], found["none"]["right"]),
        ])  # fmt: skip
    head = ["guidance", "scale", "NFE", f"FD[{case.extractor.name}]", "less the best's",
            "precision", "recall", "as asked, %", "more than without"]  # fmt: skip
    return render.markdown(head, cells)


def section(case: Case) -> list[str]:
    """The part of the page on one model."""
    return [
        f"## {case.name.capitalize()}",
        f"{case.what} The scale of each is the best of {len(case.scales)} on {case.choosing} other "
        f"seeds; {case.judging} pictures judge. The worse model: `sde-diffusion train "
        f"{' '.join(case.training)}`.",
        judged(case),
    ]


def kept() -> dict[str, str]:
    """The parts of the page as it stands, by the name of the model; its sources by ``- NAME:``."""
    path = page.HERE / "guided.md"
    whole, _, sources = (path.read_text() if path.is_file() else "").partition(render.SOURCES)
    parts = {part.split(maxsplit=1)[0].lower(): part for part in whole.split("\n## ")[1:]}
    lines = {line.split(":")[0]: line for line in sources.splitlines()}
    return {name: f"## {part.strip()}" for name, part in parts.items()} | lines


def main() -> None:
    """Train the worse models, draw, judge, write guided.md: of the models that are named, or all.

    The part of a model that is not named stays as it is.
    """
    parts = kept()
    for name in sys.argv[1:] or CASES:
        made = render.made()
        parts[name] = "\n\n".join(section(CASES[name]))
        parts[f"- {name}"] = (
            f"- {name}: `{made['command']}`; {made['machine']}; {made['date']}, revision: "
            f"{made['revision']}"
        )
    there = [name for name in CASES if name in parts]
    text = (page.HERE / "text" / "guided.md").read_text().strip()
    title = "# What does guidance buy from trained models?"
    sources = "\n".join(parts[f"- {name}"] for name in there)
    whole = [title, text, *(parts[name] for name in there), render.SOURCES, sources]
    render.written("guided", "\n\n".join(whole) + "\n")


if __name__ == "__main__":
    main()
