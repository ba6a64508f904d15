"""Vectors in the plane with a known shape: quick proofs of training, with network=mlp."""

from __future__ import annotations

import math

import numpy as np
import torch

from sde_diffusion.data.base import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.spelling import none_of

NAMES = ("two_moons", "swiss_roll", "pinwheel")
SPLITS = ("train", "test")
ARMS = 5


class Toy(DataSource):
    """n points float32 [n, 2] about the origin, the largest coordinate about 1 to 2.

    ``two_moons``: half circles of radius 1, one turned over and moved by (1, 1/2); two classes.
    ``swiss_roll``: (r cos t, r sin t), t = 3 pi / 2 (1 + 2 u), r = t / 10; no classes.
    ``pinwheel``: five arms at radius 1 + 0.3 z that twist with it; five classes.

    Args:
        name: one of the three. n: number of points.
        noise: standard deviation of what is added to each coordinate.
        split, seed: two splits or seeds share no draw.
    """

    def __init__(
        self,
        name: str = "two_moons",
        n: int = 10000,
        noise: float = 0.05,
        split: str = "train",
        seed: int = 0,
    ) -> None:
        if name not in NAMES:
            raise none_of("data.name", name, sorted(NAMES))
        if split not in SPLITS:
            raise InputError(f"data.split={split}: choose train or test")
        if n < 1 or not 0 <= noise <= 1000 or seed < 0:
            raise InputError(
                f"data.n={n}, noise={noise}, seed={seed}: give n >= 1, noise from 0 to 1000, "
                "seed >= 0"
            )
        self.name, self.n, self.noise, self.split, self.seed = name, n, noise, split, seed

    def load(self) -> ImageSet:
        rng = np.random.default_rng((self.seed, SPLITS.index(self.split)))
        x, labels = self._points(rng, rng.random(self.n))
        x += self.noise * rng.standard_normal((self.n, 2))
        classes = {"two_moons": 2, "swiss_roll": 0, "pinwheel": ARMS}[self.name]
        label_tensor = None if labels is None else torch.from_numpy(labels)
        points = torch.from_numpy(x.astype(np.float32))
        return ImageSet(points, label_tensor, classes, f"{self.name}-{self.split}")

    def _points(
        self, rng: np.random.Generator, u: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The points without noise [n, 2] of u ~ U(0, 1) [n], and their classes [n] if any."""
        if self.name == "swiss_roll":
            t = 1.5 * math.pi * (1 + 2 * u)
            return t[:, None] / 10 * np.stack([np.cos(t), np.sin(t)], 1), None
        if self.name == "two_moons":
            labels, sign = rng.integers(2, size=self.n), np.array([1.0, -1.0])
            s = sign[labels]
            x = np.stack([s * np.cos(math.pi * u), s * np.sin(math.pi * u)], 1)
            return x + np.array([[-0.5, -0.25], [0.5, 0.25]])[labels], labels
        labels = rng.integers(ARMS, size=self.n)
        along, across = 1 + 0.3 * rng.standard_normal(self.n), 0.1 * rng.standard_normal(self.n)
        angle = 2 * math.pi / ARMS * labels + 0.25 * np.exp(along)
        cos, sin = np.cos(angle), np.sin(angle)
        return np.stack([along * cos - across * sin, along * sin + across * cos], 1), labels
