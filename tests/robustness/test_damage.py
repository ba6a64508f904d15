"""A share of the damage of ``damage``, evenly over kinds of files and of damage."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sde_diffusion.errors import InputError
from tests.robustness import damage as damages
from tests.robustness.damage import DAMAGES, KINDS, Damage, judged_line, outcome


@pytest.mark.parametrize("damage", DAMAGES, ids=[each.__name__ for each in DAMAGES])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_one_line_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, damage: Damage
) -> None:
    write, read = KINDS[kind]
    path = tmp_path / f"{kind}.safetensors"
    write(path)
    whole, known = path.read_bytes(), read(path)
    draw, refused = random.Random(f"{kind} {damage.__name__}"), 0
    for _ in range(40):
        path.write_bytes(damage(whole, draw))
        capsys.readouterr()
        try:
            assert read(path) == known
        except InputError as error:
            refused += 1
            line = capsys.readouterr().err.strip() or str(error)
            assert judged_line(line, path)[0] == "refused", line
    # Damage to the padding of the header, or that writes what was there, is nobody's.
    assert refused >= 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, kind: str) -> None:
    read = KINDS[kind][1]
    for other in sorted(KINDS.keys() - {kind}):
        path = tmp_path / f"{other}.safetensors"
        KINDS[other][0](path)
        with pytest.raises(InputError, match=r"safetensors: ") as caught:
            read(path)
        assert str(caught.value).isprintable()


def test_a_content_that_is_another_and_a_traceback_are_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a reader that looks at no seal, and of one that lets through what it meets."""
    write, _ = KINDS["cell"]
    for read, said in (
        (Path.read_bytes, "another content"),
        (lambda path: path.read_bytes()[300] * 0, "IndexError"),
    ):
        monkeypatch.setattr(damages, "KINDS", {"cell": (write, read)})
        found = [outcome(seed) for seed in range(60)]
        assert any(kind == "fault" and said in line for kind, line in found)
