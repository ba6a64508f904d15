"""A label is a whole number or the name of a class, whoever's number it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sde_diffusion.conditions.labels import Labels
from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.class_labels import names_of
from tests.refusals import refused

PETS = Labels(3, ("cat", "dog", "owl"))


def numbers(label: Any, n: int = 2, labels: Labels = PETS) -> list[int]:
    cond = labels.encode({"label": label}, range(n))
    assert cond is not None
    part = cond.parts["label"]
    assert bool(part.keep.all())
    return part.value.tolist()


@pytest.mark.parametrize(
    "label", [1, "dog", np.int64(1), np.array(1), torch.tensor(1), [1, "dog"], np.array([1, 1])]
)
def test_numbers_of_any_library_and_names(label: Any) -> None:
    assert numbers(label) == [1, 1]


def test_all_is_the_seed_in_rotation() -> None:
    cond = PETS.encode({"label": "all"}, [7, 3, 5])
    assert cond is not None
    assert cond.parts["label"].value.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "label",
    [1.9, "1", "37", "bird", 3, -1, True, [1.9, 0], {"a": 1}, float("nan"), [[0, 1], [1, 2]]],
)
def test_nothing_is_truncated_or_read_by_letters(label: Any) -> None:
    with refused("label=", "give a class, 0 .. 2"):
        PETS.encode({"label": label}, range(2))


def test_the_number_of_labels_is_that_of_the_images() -> None:
    with refused("label", "3", "2 images"):
        PETS.encode({"label": [0, 1, 2]}, range(2))


def test_without_classes_there_is_no_condition() -> None:
    assert Labels(0).encode({}, [0]) is None
    assert Labels(0).encode({"label": "all"}, [0]) is None
    with refused("label=3", "label=null"):
        Labels(0).encode({"label": 3}, [0])


def test_a_number_that_is_the_name_of_another_class_is_asked_about() -> None:
    digits = Labels(2, ("3", "0"))
    with pytest.raises(InputError, match="name of class 1"):
        digits.encode({"label": 0}, [0])
    assert numbers("0", labels=digits) == [1, 1]
    assert numbers(1, labels=Labels(2, ("0", "1"))) == [1, 1]


def test_a_number_that_is_a_name_alone_says_how_to_give_it() -> None:
    """Folders 1, 10, 2: the class that label=10 means is told from class 10, of which there is
    none."""
    folders = Labels(3, ("1", "10", "2"))
    with refused("label=10", "class 10 is none, and 10 is the name of class 1", "label='\"10\"'"):
        numbers(10, labels=folders)
    assert numbers("10", labels=folders) == [1, 1]


def test_a_number_in_quotes_is_told_to_lose_them() -> None:
    with refused("label='7'", "give the number, label=7"):
        numbers("7", labels=Labels(10))


def test_a_name_is_the_same_in_both_spellings() -> None:
    assert numbers("cafe\u0301", labels=Labels(2, ("bar", "caf\u00e9"))) == [1, 1]


def test_a_name_of_two_classes_is_refused() -> None:
    """ImageNet has two of cranes: the first was drawn."""
    labels = Labels(3, ("crane", "owl", "crane"))
    with refused("label=crane", "of classes 0 and 2; give the number"):
        numbers("crane", labels=labels)
    assert numbers(["owl", 2], labels=labels) == [1, 2]


def test_each_of_several_names_is_one() -> None:
    """As diffusers has ImageNet's; one that two classes share is asked about."""
    labels = Labels(3, ("goldfish, Carassius auratus", "crane", "bird, crane, "))
    assert numbers("Carassius auratus", labels=labels) == [0, 0]
    assert numbers("goldfish, Carassius auratus", labels=labels) == [0, 0]
    assert numbers("crane", labels=labels) == [1, 1]  # the whole name goes before
    with refused("label=both", "1 and 2"):
        numbers("both", labels=Labels(3, ("cat", "dog, both", "both, owl")))
    with refused("label=", "give a class"):
        numbers("", labels=labels)


def test_classes_without_a_name_have_their_number() -> None:
    assert names_of({"id2label": {"0": "cat", 2: "owl", "9": "none"}}, 3) == ("cat", "1", "owl")
    assert names_of({"id2label": {"9": "none"}}, 3) == names_of({}, 3) == ()
