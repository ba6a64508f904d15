"""Conditions pass through unread: rows, dropping and joining keep values and flags together."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.conditions.condition import Condition


def test_a_negative_label_is_no_condition() -> None:
    cond = Condition.label([3, -1, 0])
    assert cond.keep.tolist() == [True, False, True]
    assert cond.values["label"].tolist() == [3, 0, 0]
    assert len(cond) == 3


def test_dropping_everywhere_or_where_asked() -> None:
    cond = Condition.label([3, -1, 0])
    assert cond.dropped().keep.tolist() == [False, False, False]
    where = torch.tensor([True, False, False])
    assert cond.dropped(where).keep.tolist() == [False, False, True]
    assert cond.keep.tolist() == [True, False, True]  # the original is untouched


def test_rows_and_cat_are_inverse() -> None:
    cond = Condition(
        torch.tensor([True, False, True, True]),
        {"label": torch.arange(4), "text": torch.randn(4, 5, 2)},
    )
    joined = Condition.cat([cond[:1], cond[torch.tensor([1, 2])], cond[3:]])
    assert torch.equal(joined.keep, cond.keep)
    assert torch.equal(joined.values["text"], cond.values["text"])
    assert torch.equal(joined.values["label"], cond.values["label"])


def test_cat_refuses_parts_of_another_kind() -> None:
    with pytest.raises(KeyError):
        Condition.cat([Condition.label([1]), Condition(torch.tensor([True]))])
