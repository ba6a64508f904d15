"""A space knows its shapes, and says which ones are not its own."""

from __future__ import annotations

from typing import Any

import pytest

from sde_diffusion.denoisers.space import Kind, Space
from tests.refusals import refused

FREE = Space(Kind.LATENTS, (4, None, None), multiple=8)


def test_one_side_is_a_vector_and_several_are_pixels() -> None:
    assert Space.of((5,)).kind is Kind.VECTORS
    assert Space.of([3, 8, 8]) == Space(Kind.PIXELS, (3, 8, 8))
    assert Space.of(FREE) is FREE


@pytest.mark.parametrize("shape", [(), (0,), (3, -1, 4), (3.0, 4, 4)])
def test_what_is_no_shape(shape: Any) -> None:
    with refused("shape="):
        Space.of(shape)


def test_open_sides_ask_for_a_size() -> None:
    with refused("size", "multiples of 8", "size=[64,64]"):
        _ = FREE.shape
    FREE.check((4, 16, 24), "x_T")
    for shape in ((4, 16, 20), (3, 16, 16), (4, 16), (4, 0, 8)):
        with refused("x_T: shape"):
            FREE.check(shape, "x_T")
