"""ARCHITECTURE and its picture are of the folders and imports of today; links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.test_architecture import ORDER

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
REMEDY = "draw it again: python docs/draw_architecture.py"


def test_the_page_lists_the_rooms_in_the_order_of_imports() -> None:
    rooms = [name for name in ORDER if (ROOT / "sde_diffusion" / name).is_dir()]
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == rooms
    folders = {path.parent.name for path in (ROOT / "sde_diffusion").glob("*/*.py")}
    assert set(rooms) == folders


def test_what_the_page_names_is_there() -> None:
    """Folders and files with a slash in backquotes, where no part is a word to fill in."""
    names = [
        name for name in re.findall(r"`([\w/.]+)`", PAGE) if "/" in name and "NAME" not in name
    ]
    assert len(names) >= 6
    for name in names:
        places = [ROOT / name, ROOT / "sde_diffusion" / name, ROOT / "sde_diffusion" / f"{name}.py"]
        assert any(place.exists() for place in places), name


def test_the_picture_is_of_todays_imports() -> None:
    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    with Image.open(ROOT / "docs" / "architecture.png") as picture:
        assert json.loads(picture.info["Description"]) == draw.drawn(), REMEDY


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files(path: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    """Of ``docs``; ``mkdocs build --strict`` holds the rest."""
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    written = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert written <= listed


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def typed_module() -> Any:
    """``docs/typed.py``, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("typed", ROOT / "docs" / "typed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_has_what_its_blocks_print(path: Path) -> None:
    blocks = list(typed_module().BLOCK.finditer(path.read_text()))
    assert path.stem == "index" or blocks
    assert [block["code"] for block in blocks if block["output"] == ""] == []


def test_a_page_is_typed_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\n```\n\n```bash\necho 3 > kept\n```\n\n<!-- not typed: no -->\n"
        "```bash\nexit 1\n```\n\n```python\nfrom pathlib import Path\n"
        "print(x, Path('kept').read_text())\n```\n\n"
        "```text\nold\n```\n\nWords.\n"
    )
    typed_module().page(page, store=True)
    assert page.read_text().endswith("```\n\n```text\n2 3\n```\n\nWords.\n")
    page.write_text("```bash\nexit 3\n```\n")
    with pytest.raises(SystemExit, match="exit status 3"):
        typed_module().page(page, store=False)


def test_the_words_of_a_small_variant_go_to_the_commands_that_they_are_for() -> None:
    block = "cat x\nsde-diffusion train  # y\n.venv/bin/sde-diffusion sample n=4 > z\nx && pytest\n"
    smaller = typed_module().smaller
    assert smaller(block, "a=1 b=2") == (
        "cat x\nsde-diffusion train a=1 b=2  # y\n"
        ".venv/bin/sde-diffusion sample n=4 a=1 b=2 > z\nx && pytest a=1 b=2\n"
    )
    assert smaller(block, "train a=1") == block.replace("train", "train a=1")


def test_what_a_block_supposes_is_made_before_and_newest_folders_are_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- before:\nmkdir -p outputs/train-1 outputs/train-2\n"
        "touch -d 2020-01-01 outputs/train-1\n-->\n<!-- small: n=1 -->\n"
        "```bash\nmkdir outputs/ema-3\n"
        "echo outputs/train-... outputs/train-... outputs/ema-...\n```\n\n"
        "```text\n```\n"
    )
    typed_module().page(page, store=True)
    printed = page.read_text().rpartition("```text\n")[2]
    assert printed == "outputs/train-2 outputs/train-1 outputs/ema-3\n```\n"


def test_the_log_keeps_a_line_a_page(tmp_path: Path) -> None:
    index = tmp_path / "index.md"
    index.write_text("<!-- log of all pages -->\n```text\na.md: old\nb.md: old\n```\n")
    typed_module().logged({"b.md": "exit status 0"}, index)
    assert "\na.md: old\nb.md: exit status 0\n```\n" in index.read_text()


def test_readme_is_typed_without_packages_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text("```bash\necho ${PYTHONPATH-none}\n```\n\n```text\n```\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    typed_module().freshly(page, tmp_path, store=True)
    assert page.read_text().endswith("```text\nnone\n```\n")


def test_every_block_is_typed_or_says_why_not() -> None:
    pages = typed_module().every()
    assert {"README.md", "CONTRIBUTING.md"} < {path.name for path in pages}
    left_out = [path for path in PAGES if path not in pages and path.parent != ROOT / "benchmarks"]
    fenced = [path for path in left_out if re.search(r"^```(bash|python)", path.read_text(), re.M)]
    assert {path.name for path in fenced} <= {"index.md", "trust.md", "scale.md", "hosts.md"}


def test_signatures_have_plain_types(tmp_path: Path) -> None:
    griffe = pytest.importorskip("griffe")
    code = (
        "from typing import Annotated, Mapping\n"
        "Rate = Annotated[float, 'a rule']\n"
        "class Thing:\n"
        "    size: Annotated[int, 'two'] = 2\n"
        "    def f(self, a: Mapping[str, Annotated[int, 'one']], b: Rate | None = None) -> Rate:\n"
        "        ...\n"
    )
    (tmp_path / "thing.py").write_text(code)
    extension = str(ROOT / "docs" / "plain_types.py")
    package = griffe.load(
        "thing", search_paths=[tmp_path], extensions=griffe.load_extensions(extension)
    )
    f = package["Thing.f"]
    assert [str(p.annotation) for p in f.parameters][1:] == ["Mapping[str, int]", "float | None"]
    assert [str(f.returns), str(package["Thing.size"].annotation)] == ["float", "int"]
