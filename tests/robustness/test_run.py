"""A long run that was stopped goes on, and counts each case once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness import run


class Answering:
    """In place of a process: odd seeds are faults."""

    asked: list[int] = []
    most = 3.0

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def ask(self, seed: int, seconds: float) -> tuple[str, str]:
        self.asked.append(seed)
        return ("fault", f"of {seed}") if seed % 2 else ("images", "")

    def end(self) -> None:
        return None


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Worker", Answering)
    out = tmp_path / "deep" / "configs.jsonl"
    run.run("configs", range(4), out, 100.0)
    with open(out, "a") as file:
        file.write('{"seed": 4, "fou')  # killed here
    run.run("configs", range(6), out, 100.0)
    run.run("configs", range(6), out, 100.0)
    run.run("configs", range(9), out, -1.0)  # no time
    assert Answering.asked == [0, 1, 2, 3, 4, 5]
    found = run.counted(out)
    assert (found["cases"], found["images"], found["fault"], found["most_mib"]) == (6, 3, 3, 3)
    assert [(case["seed"], case["said"]) for case in found["faults"]] == [
        (1, "of 1"), (3, "of 3"), (5, "of 5"),
    ]  # fmt: skip
    assert run.counted(tmp_path / "none.jsonl")["cases"] == 0
