"""BibTeX of a comparison: this package, and the papers of the solvers that were compared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

SOFTWARE = """@software{sde_diffusion,
  title = {sde\\_diffusion: a score-based SDE framework for image synthesis with pluggable solvers},
  author = {{The sde\\_diffusion developers}},
}"""


@cache
def known() -> dict[str, str]:
    """The entries of papers.bib, by arXiv identifier or ``doi:...``."""
    text = Path(__file__).with_name("papers.bib").read_text(encoding="utf-8")
    entries = re.findall(r"@\w+\{(?:arXiv:)?(\S+),\n.*?\n\}", text, flags=re.DOTALL)
    bodies = re.findall(r"@\w+\{\S+,\n.*?\n\}", text, flags=re.DOTALL)
    return dict(zip(entries, bodies, strict=True))


def bibtex(papers: Iterable[str]) -> str:
    """The package and each paper once; one that papers.bib does not hold is its identifier."""
    entries = [known().get(paper) or _bare(paper) for paper in dict.fromkeys(papers)]
    return "\n\n".join([SOFTWARE, *entries]) + "\n"


def _bare(paper: str) -> str:
    where = "doi" if paper.startswith("doi:") else "eprint"
    return f"@misc{{{paper},\n  {where} = {{{paper.removeprefix('doi:')}}},\n}}"
