"""A handful of ``python -m tests.robustness commands``, and that its judge can find fault."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sde_diffusion.config import groups
from tests.robustness.commands import drawn, judged, outcome
from tests.robustness.jobs import TRACEBACK, Ended
from tests.robustness.run import DIED, Worker


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_random_command_lines(seed: int) -> None:
    kind, said = outcome(seed)
    assert kind != "fault", said


def test_every_task_solver_operator_and_method_comes_up() -> None:
    words = [" ".join(drawn(seed)) for seed in range(1500)]
    for group, key in (("solver", "solver"), ("operator", "operator"), ("method", "method")):
        for name in groups.names(group):
            assert any(f" {key}={name}" in line for line in words), name
    assert all(any(key in line for line in words) for key in ("prompt=", "mask=", "start=", "sde="))


@pytest.mark.parametrize(
    ("status", "line", "left", "found"),
    [
        (2, "sde-diffusion: n=0: give 1", False, "refused"),
        (2, "sde-diffusion: n=0: give 1", True, "fault: left behind"),
        (2, "sde-diffusion: wrong", False, "fault: refused badly"),
        (1, "sde-diffusion: n=0: give 1", False, "fault: status 1"),
        (TRACEBACK, "Traceback", False, "fault: traceback"),
        (-signal.SIGXCPU, "a bar", False, "fault: no end in 60 s of a processor"),
    ],
)
def test_the_judge(status: int, line: str, left: bool, found: str, tmp_path: Path) -> None:
    if left:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "half.npz").write_bytes(b"")
    kind, said = judged(Ended(status, "", f"a bar\n{line}\n"), tmp_path / "out")
    assert f"{kind}: {said}".startswith(found)


@pytest.mark.slow
def test_a_worker_that_hangs_or_dies_is_replaced() -> None:
    worker = Worker("damage")
    assert worker.ask(0, 60.0)[0] in ("right", "refused")
    assert worker.ask(1, 0.0) == ("fault", "no answer in 0 s")
    assert worker.ask(0, 60.0)[0] in ("right", "refused")
    worker.process.kill()
    worker.process.join()
    assert worker.ask(0, 60.0) in (("fault", DIED), ("fault", "no answer in 60 s"))
    worker.end()
