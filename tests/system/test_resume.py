"""Work in parts: made once, read after, and a part that is torn or changed is made again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sde_diffusion.system.resume import in_parts

ROWS, CHUNK = 10, 4


class Counted:
    """Squares of row numbers, and which slices were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, rows: slice) -> dict[str, Tensor]:
        self.asked.append(rows.start)
        k = torch.arange(rows.start, rows.stop)
        return {"square": k * k, "half": k / 2}


def squares(folder: Path, work: Counted, key: str = "a") -> Tensor:
    made = in_parts(folder, {"key": key}, ROWS, CHUNK, work, "test")
    assert torch.equal(made["half"], torch.arange(ROWS) / 2)
    return made["square"]


def test_parts_are_joined_in_order_and_made_once(tmp_path: Path) -> None:
    work = Counted()
    wanted = torch.arange(ROWS) ** 2
    assert torch.equal(squares(tmp_path, work), wanted)
    assert torch.equal(squares(tmp_path, work), wanted)
    assert work.asked == [0, 4, 8]
    assert torch.equal(squares(tmp_path, work, key="b"), wanted)  # depends on something else
    assert work.asked == [0, 4, 8] * 2


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "foreign"])
def test_a_damaged_part_is_made_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Counted()
    wanted = squares(tmp_path, work)
    first = sorted((tmp_path / "parts").iterdir())[0]
    content = first.read_bytes()
    other = sorted((tmp_path / "parts").iterdir())[1].read_bytes()
    first.write_bytes({
        "torn": content[: len(content) // 2], "empty": b"",
        "flipped": content[:-1] + bytes([content[-1] ^ 1]), "foreign": b"x" + other,
    }[damage])  # fmt: skip
    assert torch.equal(squares(tmp_path, work), wanted)
    assert work.asked == [0, 4, 8, 0]
    assert "made again" in capsys.readouterr().err
    assert first.read_bytes() == content
