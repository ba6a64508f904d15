"""The self-contained page of jobs that were judged one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader

from sde_diffusion.report.html import show
from sde_diffusion.report.style import variables
from sde_diffusion.system import strict_json
from sde_diffusion.system.notice import visible


def jobs_page(
    task: str, rows: Sequence[Mapping[str, Any]], key: str | None, facts: Mapping[str, Any]
) -> str:
    """A table of ``rows`` with the same keys, one a job of ``task``; ``key`` is what they are
    ranked by, None where they are not. ``facts``: what made it."""
    environment = Environment(
        loader=PackageLoader("sde_diffusion.report", "."),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["show"] = show
    return environment.get_template("jobs.html.j2").render(
        task=task,
        rows=rows,
        key=key,
        command=facts.get("command"),
        facts={name: text for name, text in facts.items() if name not in ("command", "config")},
        config=strict_json.dumps(facts.get("config", {}), indent=1),
        light=variables(),
    )
