"""A folder that can be uploaded as it is: weights, what they are, and a card with figures."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from sde_diffusion.conditions.condition import TEXT
from sde_diffusion.errors import InputError
from sde_diffusion.models.export import save_model
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources.latents.autoencoder import keep_beside
from sde_diffusion.system import strict_json
from sde_diffusion.system.storage import beside, write_atomically

WEIGHTS, CONFIG, CARD, PICTURE = "model.safetensors", "config.json", "README.md", "samples.png"
LIBRARY = "sde_diffusion"
TEMPLATE = """---
library_name: sde_diffusion
pipeline_tag: {{ pipeline }}
{%- if licence %}
license: {{ licence }}
{%- endif %}
tags: [diffusion, score-based-model, {{ spec.network }}]
---

# {{ name }}

| | |
| --- | --- |
{%- for key, value in facts %}
| {{ key }} | {{ value }} |
{%- endfor %}

```bash
pip install sde_diffusion
sde-diffusion sample checkpoint=FOLDER n=16
```

`FOLDER` is this one, or `hub:OWNER/NAME`.
{%- if picture %}

![{{ picture }}](samples.png)

{{ picture }}.
{%- endif %}
{%- for table in figures %}

## {{ table.title }}

| {{ table.head | join(" | ") }} |
|{% for _ in table.head %} --- |{% endfor %}
{%- for row in table.rows %}
| {{ row | join(" | ") }} |
{%- endfor %}

{{ table.source }}
{%- endfor %}
"""


@dataclass(frozen=True)
class Table:
    """Figures of a finished job, as the card shows them."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    source: str


def save_hub(
    model: OpenedModel,
    path: Path,
    figures: Sequence[Table] = (),
    picture: tuple[str, bytes] | None = None,
    licence: str | None = None,
    weights: Path | None = None,
) -> None:
    """Write the folder of ``model``, which ``checkpoint=FOLDER`` opens to the last bit.

    Args:
        path: a new folder. figures: of the card. picture: what it shows, and a PNG.
        licence: of the weights, as the Hub names it.
        weights: the file that the model was opened from, if it is one of ours: it is copied.
    """
    check_hub(model, path)
    assert model.spec is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(**beside(path)) as spare:
        folder = Path(spare) / path.name
        folder.mkdir()
        if weights is None:
            save_model(model, folder / WEIGHTS)
        else:
            shutil.copyfile(weights, folder / WEIGHTS)
            keep_beside(model.codec, folder)
        facts = {"library_name": LIBRARY, **strict_json.encoded(asdict(model.spec))}
        write_atomically(folder / CONFIG, (json.dumps(facts, indent=2) + "\n").encode())
        if picture is not None:
            write_atomically(folder / PICTURE, picture[1])
        shown = picture and picture[0]
        text = card(model, path.name, figures, shown, licence)
        write_atomically(folder / CARD, text.encode())
        os.replace(folder, path)


def check_hub(model: OpenedModel, path: Path) -> None:
    """InputError for a model that has its folder already, or a path that is taken."""
    if model.spec is None:
        raise InputError(
            f"checkpoint={model.name}: a pipeline of diffusers is such a folder already; upload it "
            "as it is"
        )
    if path.exists():
        raise InputError(f"output={path}: is there already; give another name")


def card(
    model: OpenedModel,
    name: str,
    figures: Sequence[Table] = (),
    picture: str | None = None,
    licence: str | None = None,
) -> str:
    """The card of a model, Markdown under the entries that the Hub reads."""
    spec, d = model.spec, model.denoiser
    assert spec is not None
    sides = " x ".join("any" if side is None else str(side) for side in d.space.pattern)
    weights = sum(parameter.numel() for parameter in d.parameters())
    high = "infinity" if d.sigma_max == math.inf else f"{d.sigma_max:g}"
    facts = [
        ("draws", f"{d.space.kind.value}, {sides}"),
        ("network", f"{spec.network}, {weights:,} weights"),
        ("parameterization", spec.parameterization),
        ("noise levels", f"{d.sigma_min:g} .. {high}"),
        ("reads", ", ".join(model.conditioner.words) or "nothing"),
        ("classes", str(spec.classes)),
        ("trained on", f"{spec.data or 'not recorded'}, {spec.step:,} steps"),
        ("fingerprint", f"`{model.fingerprint[:16]}`"),
    ]
    task = "text-to-image" if TEXT in spec.conditions else "unconditional-image-generation"
    template = Environment(autoescape=False, keep_trailing_newline=True).from_string(TEMPLATE)
    return template.render(
        name=name, spec=spec, facts=facts, figures=figures, picture=picture, licence=licence,
        pipeline=task,
    )  # fmt: skip


def figures_of(folder: Path, fingerprint: str) -> Table:
    """The figures of a finished compare or likelihood job of the model with that fingerprint."""
    where = f"figures={folder}"
    compared = folder / "results.json"
    path = compared if compared.is_file() else folder / "result.json"
    try:
        results: Mapping[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        raise InputError(
            f"{where}: has no results.json and no result.json; give the folder of a finished "
            "compare or likelihood job"
        ) from None
    facts = results.get("provenance", results)
    measured = str(facts.get("model_fingerprint") or "none")
    if not fingerprint.startswith(measured):
        raise InputError(
            f"{where}: is of another model ({str(facts.get('model'))[:60]}); give a job of this "
            "checkpoint"
        )
    source = f"Measured {facts['date']}, revision {facts['revision']}, {facts['machine']}."
    if path is compared:
        return _compared(results, facts, source)
    if "bits_per_dim" not in results:
        raise InputError(f"{where}: holds no figures; give a compare or likelihood job")
    row = [f"{results['bits_per_dim']:.4g}"]
    return Table("Likelihood", ["bits a dimension"], [row], source)


def _compared(comparison: Mapping[str, Any], facts: Mapping[str, Any], source: str) -> Table:
    rows = comparison["rows"]
    most = max(row["samples"] for row in rows)
    top = [row for row in rows if row["samples"] == most]
    # Of few samples the bias-removed value is withheld: then all rows have the plug-in one.
    plug_in = any(row["fd_debiased"] is None for row in top)
    value, kind = ("fd", "plug-in") if plug_in else ("fd_debiased", "bias removed")
    shown = [[str(row["solver"]), f"{row['nfe']:g}", f"{row[value]:.4g}"] for row in top]
    distance = f"FD[{facts['extractor']}] of {most} samples, {kind}"
    against = f" Against {facts['reference']} (n = {facts['reference_n']})."
    return Table("Distances", ["solver", "NFE", distance], shown, source + against)
