"""Nearest training images: copies are found, and fresh images are not accused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.memorisation import memorisation

from .gaussians import D, generator


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=generator(seed))


TRAINING, HELD_OUT, FRESH = normal(500, 4, 1) + 7, normal(400, 4, 2) + 7, normal(600, 4, 3) + 7


def test_fresh_images_look_like_held_out_ones() -> None:
    found = memorisation(FRESH, HELD_OUT, TRAINING)
    assert found.ratio == pytest.approx(1, abs=0.15)
    # 600 at 5 %: binomial standard deviation 0.9 %, and that of the quantile itself 1.1 %.
    assert found.fraction == pytest.approx(0.05, abs=0.045)


def test_copies_are_found_and_named() -> None:
    x, copied = FRESH.clone(), torch.tensor([3, 77, 200])
    x[[10, 20, 30]] = TRAINING[copied] + 1e-6
    found = memorisation(x, HELD_OUT, TRAINING, pairs=3)
    assert {(k, t) for k, t, _ in found.pairs} == {(10, 3), (20, 77), (30, 200)}
    assert all(distance == pytest.approx(2e-6, rel=0.01) for _, _, distance in found.pairs)
    all_copies = memorisation(TRAINING[:200] + 1e-6, HELD_OUT, TRAINING)
    assert all_copies.ratio < 1e-4
    assert all_copies.fraction == 1


def test_pairs_by_brute_force() -> None:
    found = memorisation(FRESH, HELD_OUT, TRAINING, pairs=5)
    table = torch.cdist(FRESH, TRAINING, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = table.min(1)
    order = nearest.values.argsort()[:5]
    assert [k for k, _, _ in found.pairs] == order.tolist()
    assert [t for _, t, _ in found.pairs] == nearest.indices[order].tolist()
    assert [v for _, _, v in found.pairs] == pytest.approx(nearest.values[order].tolist())


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="by one extractor"):
        memorisation(FRESH[:, :3], HELD_OUT, TRAINING)
    with pytest.raises(InputError, match="give some of each"):
        memorisation(FRESH, HELD_OUT[:0], TRAINING)
    with pytest.raises(InputError, match="quantile=1"):
        memorisation(FRESH, HELD_OUT, TRAINING, quantile=1)
