"""Precision, recall, density, coverage: by hand on a line, by brute force, by known overlap."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.base import drawn
from sde_diffusion.metrics.pairwise import BLOCK, blocks, nearest, squared_radii
from sde_diffusion.metrics.prdc import PRDC

from .gaussians import D, generator


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=generator(seed))


def brute_force(x: Tensor, y: Tensor, k: int) -> dict[str, float]:
    """The four definitions, pair by pair, with distances by subtraction."""

    def radius(points: Tensor, i: int) -> float:
        others = sorted(float((points[i] - q).norm()) for j, q in enumerate(points) if j != i)
        return others[k - 1]

    real, fake = ([radius(s, i) for i in range(len(s))] for s in (y, x))
    inside = [[float((a - b).norm()) <= r for b, r in zip(y, real, strict=True)] for a in x]
    reached = [any(float((a - b).norm()) <= r for a, r in zip(x, fake, strict=True)) for b in y]
    return {
        "precision": sum(any(row) for row in inside) / len(x),
        "recall": sum(reached) / len(y),
        "density": sum(map(sum, inside)) / (k * len(x)),
        "coverage": sum(any(column) for column in zip(*inside, strict=True)) / len(y),
    }


@pytest.mark.parametrize("k", [1, 3])
def test_brute_force_agrees(k: int) -> None:
    x, y = 0.5 * normal(31, 2, 1) + 101, normal(23, 2, 2) + 100
    found = PRDC(k=k)(x, y)
    assert found == pytest.approx(brute_force(x, y, k), abs=1e-12)
    assert 0 < found["recall"] < 1


def test_of_more_pairs_than_a_block_has() -> None:
    """Two blocks, the second one short, of radii and of pairs."""
    x, y = 0.5 * normal(1200, 2, 1), normal(1100, 2, 2)
    assert BLOCK < len(y) ** 2 < len(x) * len(y) < 2 * BLOCK
    radii = [torch.cdist(v, v).kthvalue(6, dim=1).values for v in (x, y)]
    pairs = torch.cdist(x, y)
    assert PRDC(k=5)(x, y) == pytest.approx(
        {
            "precision": float((pairs <= radii[1]).any(1).double().mean()),
            "recall": float((pairs <= radii[0][:, None]).any(0).double().mean()),
            "density": float((pairs <= radii[1]).sum()) / (5 * len(x)),
            "coverage": float((pairs <= radii[1]).any(0).double().mean()),
        },
        abs=1e-12,
    )


def test_four_points_on_a_line() -> None:
    """y = 0, 1, 3 have radii 1, 1, 2 at k = 1; x = 0.5, 4, 9 have 3.5, 3.5, 5."""
    x, y = (torch.tensor(v, dtype=D)[:, None] for v in ([0.5, 4.0, 9.0], [0.0, 1.0, 3.0]))
    assert PRDC(k=1)(x, y) == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "density": 3 / 3, "coverage": 1.0}
    )


def test_half_of_the_classes_missed() -> None:
    """Two far clusters, one generated: all precise, half recalled."""
    y = torch.cat([normal(200, 3, 3), normal(200, 3, 4) + 50])
    found = PRDC()(normal(400, 3, 5), y)
    assert found["precision"] > 0.95
    assert found["recall"] < 0.5
    assert found["coverage"] <= 0.5


def test_at_most_so_many() -> None:
    x, y = normal(300, 2, 6), normal(400, 2, 7)
    assert PRDC(most=400)(x, y) == PRDC(most=1000)(x, y)
    chosen = drawn(x, 200)  # not the first: they may be sorted by class
    assert PRDC(most=200)(x, y) == PRDC(most=200)(chosen, y)


def test_distances_far_from_the_origin_need_centring() -> None:
    x = normal(50, 4, 8)
    true = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    ((_, near),) = blocks(x, x)
    ((_, far),) = blocks(x + 1e8, x + 1e8)
    assert (near - true).abs().max() < 1e-12
    assert (far - true).abs().max() > 0.1


def test_nearest_and_radii() -> None:
    x, y = normal(20, 3, 9), normal(30, 3, 10)
    true = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").sort()
    values, places = nearest(x, y, 4)
    torch.testing.assert_close(values.sqrt(), true.values[:, :4])
    assert torch.equal(places, true.indices[:, :4])
    own = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").sort().values[:, 2]
    torch.testing.assert_close(squared_radii(x, 2).sqrt(), own)


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"metric\.prdc\.k=0"):
        PRDC(k=0)
    with pytest.raises(InputError, match=r"N >= 6"):
        PRDC()(normal(5, 2, 11), normal(50, 2, 12))
