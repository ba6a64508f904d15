"""Conditions pass through unread: rows, dropping and joining keep values and flags together."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.conditions.condition import Condition, Part


def keep(cond: Condition, name: str = "label") -> list[bool]:
    return cond.parts[name].keep.tolist()


def of_two() -> Condition:
    text = Part.of(torch.randn(3, 5, 2), mask=torch.ones(3, 5))
    measured = Part.of(torch.randn(3, 4), fixed=True)
    return Condition.label([3, -1, 0]).with_part("text", text).with_part("measured", measured)


def test_a_negative_label_is_no_condition() -> None:
    cond = Condition.label([3, -1, 0])
    assert keep(cond) == [True, False, True]
    assert cond.parts["label"].value.tolist() == [3, 0, 0]
    assert len(cond) == 3


def test_dropping_everywhere_or_where_asked() -> None:
    cond = Condition.label([3, -1, 0])
    assert keep(cond.dropped()) == [False, False, False]
    where = torch.tensor([True, False, False])
    assert keep(cond.dropped(where)) == [False, False, True]
    assert keep(cond) == [True, False, True]  # the original is untouched


def test_a_part_is_dropped_without_the_others_and_a_fact_never() -> None:
    cond = of_two().dropped(None, "text")
    assert keep(cond, "text") == [False] * 3
    assert keep(cond, "label") == [True, False, True]
    assert keep(of_two().dropped(), "measured") == [True] * 3


def test_the_empty_side_is_another_condition_or_none_of_the_parts() -> None:
    cond = of_two()
    assert keep(cond.empty, "text") == [False] * 3
    told = Condition(cond.parts, other=Condition.label([7, 8, 9]))
    assert told.empty.parts["label"].value.tolist() == [7, 8, 9]
    assert told[1:].empty.parts["label"].value.tolist() == [8, 9]
    joined = Condition.cat([told[:1], told[1:]])
    assert joined.empty.parts["label"].value.tolist() == [7, 8, 9]


def test_rows_and_cat_are_inverse() -> None:
    cond = of_two()
    joined = Condition.cat([cond[:1], cond[torch.tensor([1, 2])]])
    for name, part in cond.parts.items():
        same = joined.parts[name]
        assert torch.equal(same.keep, part.keep)
        assert torch.equal(same.value, part.value)
        assert same.aside.keys() == part.aside.keys()
        assert same.fixed == part.fixed


def test_cat_refuses_parts_of_another_kind() -> None:
    with pytest.raises(KeyError, match="label"):
        Condition.cat([Condition.label([1]), of_two()])
