"""A share of the damage of ``damage``, evenly over kinds of files and of damage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import find, given

from sde_diffusion.errors import InputError
from tests.robustness.damage import DAMAGES, KINDS, Damaged, drawn, outcome, whole
from tests.robustness.draws import cases, quick


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_one_line_or_none(kind: str, how: str) -> None:
    kinds = Counter[str]()

    @quick(20)
    @given(cases(lambda draw: drawn(draw, (kind,), (how,))))
    def hold(case: Damaged) -> None:
        found, said = outcome(case)
        kinds[found] += 1
        assert found != "fault", said

    hold()
    # Damage to the padding of the header, or that writes what was there, is nobody's.
    assert kinds["refused"] >= 0.75 * kinds.total()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, kind: str) -> None:
    read = KINDS[kind][1]
    for other in sorted(KINDS.keys() - {kind}):
        path = tmp_path / f"{other}.safetensors"
        KINDS[other][0](path)
        with pytest.raises(InputError, match=r"safetensors: ") as caught:
            read(path)
        assert str(caught.value).isprintable()


SIZE = len(whole("cell")[0])


@pytest.mark.parametrize(
    ("read", "how", "said"),
    [
        (Path.read_bytes, "blank", "another content"),  # looks at no seal
        (lambda path: path.read_bytes()[SIZE - 1], "cut", "IndexError"),  # lets through
    ],
)
def test_a_fault_is_found_and_its_damage_made_least(
    read: Callable[[Path], object], how: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "blind", (KINDS["cell"][0], read))
    whole.cache_clear()
    strategy = cases(lambda draw: drawn(draw, ("blind",), (how,)))
    found = find(strategy, lambda case: outcome(case)[0] == "fault", settings=quick(50))
    whole.cache_clear()
    assert found.first == 0
    assert said in outcome(found)[1]
