"""What ``--help`` says of the tasks: the words of their own yaml files."""

from __future__ import annotations

import textwrap
from pathlib import Path

from sde_diffusion.config.groups import conf_dir

WIDTH = 98


def head(typed: str | None) -> str:
    """What ``--help`` begins with: the keys of the task that was typed, or else all tasks."""
    if typed is None or not (_folder() / f"{typed}.yaml").is_file():
        title = (
            "Tasks (compare where none is named); 'sde-diffusion TASK --help' lists the keys of one"
        )
        return f"sde-diffusion TASK [key=value ...]\n\n{title}:\n{tasks()}"
    about = textwrap.fill(_about(_folder() / f"{typed}.yaml"), WIDTH, break_on_hyphens=False)
    return f"sde-diffusion {typed} [key=value ...]\n\n{about}\n\nKeys of {typed}:\n{keys(typed)}"


def tasks() -> str:
    """Every task with what it does: the comment at the head of its file."""
    about_each = {path.stem: _about(path) for path in sorted(_folder().glob("*.yaml"))}
    width = 2 + max(map(len, about_each))
    return "\n".join(
        textwrap.fill(
            about,
            WIDTH,
            initial_indent=f"  {name:<{width}}",
            subsequent_indent=" " * (2 + width),
            break_on_hyphens=False,
        )
        for name, about in about_each.items()
    )


def keys(task: str) -> str:
    """The keys of a task as its file lists them, with their defaults and comments."""
    path = _folder() / f"{task}.yaml"
    if not path.is_file():  # a task of another package
        return "  'sde-diffusion TASK --cfg job' lists them"
    section = path.read_text().partition(f"\ntask: {task}\n")[2]
    chosen = [
        line.partition("- /")[2].partition("#")[0].strip().replace(": ", "=")
        for line in path.read_text().splitlines()
        if line.strip().startswith("- /")
    ]
    return textwrap.indent(f"{section.strip()}\n\nchosen components: {' '.join(chosen)}", "  ")


def _folder() -> Path:
    return Path(conf_dir()) / "task"


def _about(path: Path) -> str:
    lines = []
    for line in path.read_text().splitlines()[1:]:  # the first says where its keys stand
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)
