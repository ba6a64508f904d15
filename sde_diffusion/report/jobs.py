"""The self-contained page of jobs that were judged one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sde_diffusion.report.html import templates
from sde_diffusion.report.style import variables
from sde_diffusion.system import strict_json


def jobs_page(
    task: str, rows: Sequence[Mapping[str, Any]], key: str | None, facts: Mapping[str, Any]
) -> str:
    """A table of ``rows`` with the same keys, one a job of ``task``; ``key`` is what they are
    ranked by, None where they are not. ``facts``: what made it."""
    return (
        templates()
        .get_template("jobs.html.j2")
        .render(
            task=task,
            rows=rows,
            words={name for row in rows for name, value in row.items() if type(value) is str},
            key=key,
            command=facts.get("command"),
            facts={name: text for name, text in facts.items() if name not in ("command", "config")},
            config=strict_json.dumps(facts.get("config", {}), indent=1),
            light=variables(),
        )
    )
