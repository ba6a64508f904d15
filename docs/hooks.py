"""Brings the pages that live elsewhere in the repository into the documentation.

A link is written as a reader of the repository follows it, relative to its file. Here it becomes
one between pages of the site. Papers named in a page, arXiv:2302.04867, become links. A line
``<!-- every name of: FOLDER ... -->`` becomes the documentation of all that the package exports
from these folders; a name that no page has ends the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

import sde_diffusion

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
)
BESIDE = ("benchmarks/*.md", "benchmarks/*.png", "benchmarks/*.webp", "benchmarks/*.csv")
# Of a picture for light pages and one for dark ones the site shows that of its own switch.
PICTURE = re.compile(
    r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="([^"]*)">'
    r'<img alt="([^"]*)" src="([^"]*)"></picture>'
)
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})(?![^<]*</(?:a|code|pre)>)")
EVERY = re.compile(r"^<!-- every name of: (.*?) -->$", re.MULTILINE)
SHOWN: set[str] = set()  # of the exported names, those that the pages so far have


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The site's files, and those of the repository that its pages link to."""
    beside = {path.relative_to(ROOT).as_posix() for glob in BESIDE for path in ROOT.glob(glob)}
    for name in (*PAGES, *sorted(beside - set(PAGES))):
        level = InclusionLevel.INCLUDED if name in PAGES else InclusionLevel.NOT_IN_NAV
        path = str(ROOT / name)
        files.append(File.generated(config, name, abs_src_path=path, inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """The page with links that hold in the site, and with the names that it is to document."""
    here = page.file.src_uri
    brought = page.file.generated_by is not None
    folder = posixpath.dirname(here if brought else f"docs/{here}")

    def link(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        place = posixpath.normpath(posixpath.join(folder, target)).removeprefix("docs/")
        if "://" in target or files.get_file_from_path(place) is None:
            return found[0]
        return before + posixpath.relpath(place, posixpath.dirname(here) or ".") + after

    markdown = PICTURE.sub(r"![\2](\3#only-light) ![\2](\1#only-dark)", markdown)
    return EVERY.sub(_every, LINK.sub(link, markdown))


def _every(found: re.Match[str]) -> str:
    folders = tuple(f"{folder}." for folder in found[1].split())
    homes = sde_diffusion._HOME
    names = sorted(name for name, module in homes.items() if f"{module}.".startswith(folders))
    if not names:
        raise PluginError(f"no name is exported from {found[1]}")
    SHOWN.update(names)
    return "\n\n".join(f"::: sde_diffusion.{homes[name]}.{name}" for name in names)


def on_post_build(config: MkDocsConfig) -> None:
    """All that the package exports is on some page."""
    if missing := sorted(set(sde_diffusion._HOME) - SHOWN):
        raise PluginError(f"on no page of docs/api: {', '.join(missing)}")


def on_page_content(html: str, page: Any, **kept: Any) -> str:
    """The page with links to the papers that it names; signatures have plain types."""
    if page.file.src_uri.startswith("api/") and "Annotated" in html:
        raise PluginError(f"{page.file.src_uri}: a signature shows Annotated[...]")
    return PAPER.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', html)
