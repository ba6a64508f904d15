"""Mean and covariance of features, streamed and merged in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.errors import InputError

# Features are single precision; fourth powers of what it holds are still far from overflow here.
LIMIT = torch.finfo(torch.float32).max
# Features at once where only sums over them are wanted: few enough that what is made of them stays
# in the processor's cache.
ROWS = 2048


def checked(features: Tensor, key: str = "features") -> Tensor:
    """Features [N, d] in float64; InputError unless they are real, finite and in two dimensions."""
    if features.ndim != 2 or features.is_complex():
        raise InputError(
            f"{key}: {features.dtype} {tuple(features.shape)}; give real numbers [N, d]"
        )
    x = features.to(torch.float64)
    if x.numel():
        low, high = x.aminmax()
        # Not so either where one is NaN.
        if not (low >= -LIMIT and high <= LIMIT):
            wrong = int((~(x.abs() <= LIMIT)).any(1).sum())
            raise InputError(
                f"{key}: {wrong} of {len(x)} samples are not finite in single precision; "
                "look at their images and at the extractor"
            )
    return x


def gram(x: Tensor) -> Tensor:
    """x^T x [d, d] of x [N, d]."""
    # numpy sees one matrix on both sides and does half the work (BLAS syrk); torch does not.
    return torch.from_numpy(x.numpy().T @ x.numpy())


@dataclass(frozen=True)
class FeatureStats:
    """Count n, mean [d] and centred second moment M2 [d, d] = sum (x - mean)(x - mean)^T.

    Merged by Chan's rule, so batches, ranks and prefixes may come in any grouping.
    """

    n: int
    mean: Tensor
    M2: Tensor

    @classmethod
    def empty(cls, d: int) -> FeatureStats:
        """No features yet."""
        return cls(0, torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64))

    @classmethod
    def of(cls, features: Tensor) -> FeatureStats:
        """Statistics of features [N, d]; InputError unless they are finite."""
        x = checked(features)
        if len(x) == 0:
            return cls.empty(x.shape[1])
        mean = x.mean(0)
        squares = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        for part in x.split(ROWS):
            squares += gram(part - mean)
        return cls(len(x), mean, squares)

    def merge(self, other: FeatureStats) -> FeatureStats:
        """Statistics of both sets together (Chan, Golub & LeVeque 1983)."""
        n = self.n + other.n
        if 0 in (self.n, other.n):
            return other if self.n == 0 else self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.n / n)
        both = torch.addr(self.M2, delta, delta, alpha=self.n * other.n / n)
        return FeatureStats(n, mean, both.add_(other.M2))

    def update(self, features: Tensor) -> FeatureStats:
        """Statistics with more features [N, d]."""
        return self.merge(FeatureStats.of(features))

    @property
    def cov(self) -> Tensor:
        """Unbiased covariance M2 / (n - 1) [d, d]; InputError for n < 2."""
        if self.n < 2:
            raise InputError(f"samples={self.n}: too few for a covariance; give at least 2")
        return self.M2 / (self.n - 1)
