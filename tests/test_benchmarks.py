"""The pages of ``benchmarks`` are what their JSON says."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent.parent / "benchmarks"
PAGES = sorted({path.stem for path in HERE.glob("*.md")} - {"README"})


def loaded(path: Path = HERE / "render.py") -> ModuleType:
    """``benchmarks/render.py``, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("render", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def render(tmp_path: Path) -> ModuleType:
    """The renderer, in a folder of its own."""
    (tmp_path / "text").mkdir()
    return loaded(shutil.copy(HERE / "render.py", tmp_path))


def test_every_page_has_a_json_and_a_line_in_the_list() -> None:
    assert loaded().names() == PAGES
    listed = (HERE / "README.md").read_text()
    assert [name for name in PAGES if f"({name}.md)" not in listed] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_json_says(name: str) -> None:
    assert loaded().rendered(name) == (HERE / f"{name}.md").read_text()


@pytest.mark.parametrize("path", sorted(HERE.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_is_one_question(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 200


def test_a_page_has_its_values_in_its_words(render: ModuleType, tmp_path: Path) -> None:
    words = "# Title\n\n{{ errors }}\n\nThe gap is {{ gap.float32:.0e }}, {{ gap.none }}.\n"
    (tmp_path / "text" / "short.md").write_text(words)
    table = render.table(["solver", "error"], [["ddim", 0.012345], ["heun", None], ["lms", 3]])
    gap = {"float32": 1.2e-7, "none": None}
    render.page("short", {"errors": table, "gap": gap}, ["the model: none"])
    page = (tmp_path / "short.md").read_text()
    body, _, sources = page.partition("\n## Where the numbers come from\n\n")
    assert body == (
        "# Title\n\n| solver | error |\n| --- | --- |\n| ddim | 0.0123 |\n| heun | - |\n"
        "| lms | 3 |\n\nThe gap is 1e-07, -.\n"
    )
    kinds = [line.partition(":")[0] for line in sources.splitlines()]
    assert kinds == ["- command", "- machine", "- date", "- the model"]
    assert json.loads((tmp_path / "results" / "short.json").read_text())["values"]["gap"] == gap


def test_a_value_that_is_not_there_is_named(render: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "text" / "short.md").write_text("{{ gap.float16 }}\n")
    with pytest.raises(KeyError, match=r"gap\.float16: not a value of this page"):
        render.page("short", {"gap": {"float32": 1.0}})


def test_a_script_may_word_its_page_itself(render: ModuleType, tmp_path: Path) -> None:
    """Its tables are kept as data all the same."""
    page = f"# Title\n\n{render.markdown(['a', 'b'], [['1', '2'], ['x', '-']])}\n\nWords.\n"
    render.written("own", page)
    assert (tmp_path / "own.md").read_text() == page
    values = json.loads((tmp_path / "results" / "own.json").read_text())["values"]
    assert values == {"table_1": {"head": ["a", "b"], "rows": [["1", "2"], ["x", "-"]]}}


@pytest.mark.parametrize("path", sorted((HERE / "text").glob("*.md")), ids=lambda path: path.stem)
def test_a_script_gives_the_values_of_its_words(path: Path) -> None:
    """Beside what the renderer adds: they are missed only at the end of a long run else."""
    holes = set(re.findall(r"\{\{ (\w+)", path.read_text())) - set(loaded().made())
    script = (HERE / f"{path.stem}.py").read_text()
    assert [hole for hole in holes if f'"{hole}":' not in script] == []
