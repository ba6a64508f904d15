"""The page of samplers is written from the table of their names."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_is_that_of_the_table() -> None:
    path = ROOT / "docs" / "table_of_samplers.py"
    spec = importlib.util.spec_from_file_location("table_of_samplers", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text()
    assert script.written(page) == page, "python docs/table_of_samplers.py"
    for name, text in script.tables().items():
        assert f"<!-- table: {name} -->\n\n{text}\n\n<!-- end -->" in page
