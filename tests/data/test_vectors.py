"""Vectors: the toy sets have the shapes they say, and archives are read as they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sde_diffusion.data import Toy, Vectors
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.images.sheet import cloud
from tests.refusals import refused


def test_two_moons_are_half_circles() -> None:
    moons = Toy("two_moons", n=2000, noise=0.0).load()
    assert moons.labels is not None
    for label, centre, sign in ((0, (-0.5, -0.25), 1.0), (1, (0.5, 0.25), -1.0)):
        x = moons.images[moons.labels == label] - torch.tensor(centre)
        assert torch.allclose(x.norm(dim=1), torch.ones(len(x)), atol=1e-5)
        assert float((sign * x[:, 1]).min()) > -1e-5
        # The angle is uniform: mean pi / 2, within four standard errors.
        angle = torch.atan2(sign * x[:, 1], sign * x[:, 0])
        tolerance = 4 * math.pi / (12 * len(x)) ** 0.5
        assert float(angle.mean()) == pytest.approx(math.pi / 2, abs=tolerance)


def test_swiss_roll_is_a_spiral_without_labels() -> None:
    roll = Toy("swiss_roll", n=2000, noise=0.0).load()
    r = roll.images.norm(dim=1)
    assert torch.allclose(roll.images[:, 0], r * torch.cos(10 * r), atol=1e-4)
    assert float(r.min()) == pytest.approx(0.15 * math.pi, rel=0.01)
    assert float(r.max()) == pytest.approx(0.45 * math.pi, rel=0.01)
    assert (roll.labels, roll.classes) == (None, 0)


def test_pinwheel_arms_are_turns_of_one_another() -> None:
    wheel = Toy("pinwheel", n=20000, noise=0.0).load()
    assert wheel.labels is not None
    assert wheel.labels.bincount().tolist() == pytest.approx([4000] * 5, rel=0.1)
    z = torch.view_as_complex(wheel.images.double())
    arms = [z[wheel.labels == k] for k in range(5)]
    for k, arm in enumerate(arms):
        back = arm * np.exp(-2j * math.pi * k / 5)
        # The spread of an arm is below 0.6 in each coordinate: 4 errors of 2 means of 4,000.
        assert abs(complex(back.mean() - arms[0].mean())) < 4 * 0.6 * (2 / 4000) ** 0.5


def test_noise_is_added_and_splits_and_seeds_share_no_draw() -> None:
    clean, noisy = Toy(n=5000, noise=0.0).load().images, Toy(n=5000, noise=0.2).load().images
    assert float((noisy - clean).std()) == pytest.approx(0.2, rel=4 / (2 * 10000) ** 0.5)
    sets = [Toy(n=5).load(), Toy(n=5, split="test").load(), Toy(n=5, seed=1).load()]
    assert len({s.fingerprint for s in sets}) == 3
    assert Toy(n=5).load().fingerprint == Toy(n=5).load().fingerprint
    assert sets[0].images.dtype == torch.float32


def test_archives_are_read_as_they_are(tmp_path: Path) -> None:
    path = str(tmp_path / "v.npz")
    x = np.random.default_rng(0).standard_normal((6, 3))
    np.savez(path, x=x, labels=[0, 2, 1, 0, 0, 2])
    found = Vectors(path).load()
    assert torch.equal(found.images, torch.from_numpy(x).float())
    assert torch.equal(to_float(found.images), found.images)
    assert found.labels is not None
    assert (found.labels.tolist(), found.classes) == ([0, 2, 1, 0, 0, 2], 3)
    np.savez(path, y=x)
    assert Vectors(path, array="y").load().labels is None
    with refused("data.array=x", "no array"):
        Vectors(path).load()
    for wrong in (x[0], x.astype(int), x[:, :0], np.where(x > 1, np.nan, x)):
        np.savez(path, x=wrong)
        with refused("data.path=", "v.npz"):
            Vectors(path).load()
    np.savez(path, x=x, labels=[0])
    with pytest.raises(InputError, match=r"labels are int64 \(1,\)"):
        Vectors(path).load()
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="one array of numbers"):
        Vectors(path).load()


@pytest.mark.parametrize(
    "wrong", [{"name": "moon"}, {"split": "all"}, {"n": 0}, {"noise": -1.0}, {"seed": -1}]
)
def test_a_wrong_argument_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^data\..*{next(iter(wrong))}"):
        Toy(**wrong).load()  # type: ignore[arg-type]


def test_vectors_are_no_pictures() -> None:
    with refused("data=two_moons-train"):
        Toy().load().as_pictures()
    images = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None, 0, "a")
    assert images.as_pictures() is images


def test_a_cloud_shows_where_points_lie() -> None:
    """Right of the centre is right, above it is above, and what is far out is left out."""
    x = torch.tensor([[1.0, 0.5]] * 300 + [[-1.0, -1.0]] * 100 + [[1e6, 1e6]])
    grey = np.asarray(cloud(x, side=8))
    assert grey.shape == (8, 8)
    bright = {(int(row), int(column)) for row, column in np.argwhere(grey)}
    assert len(bright) == 2
    (row, column) = np.unravel_index(grey.argmax(), grey.shape)
    assert row < 4 <= column
    assert max(bright)[0] > 4 > max(bright)[1]
    assert np.asarray(cloud(torch.zeros(5, 1))).max() == 255
