"""Small classifiers whose penultimate layer is a feature space of small images."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module):
    """Images x in -1 .. 1 [N, channels, side, side] -> ``dim`` features -> class logits.

    Attributes:
        mirror: whether a mirrored image is one of the same class, for training.
        head: the linear classifier on top of the features.
    """

    mirror: ClassVar[bool]
    head: nn.Linear

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """x [N, channels, side, side] -> features [N, dim], before the last non-linearity."""

    def forward(self, x: Tensor) -> Tensor:
        """Class logits [N, classes]."""
        return self.head(F.dropout(F.relu(self.features(x)), 0.3, self.training))


class StridedCNN(Classifier):
    """Two strided convolutions, one hidden layer of ``dim`` features, a linear classifier."""

    mirror = False

    def __init__(self, channels: int, side: int, classes: int, dim: int = 64) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, 32, 5, stride=2, padding=2)
        self.norm_1 = nn.BatchNorm2d(32)
        self.conv_2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.norm_2 = nn.BatchNorm2d(64)
        self.hidden = nn.Linear(64 * ((side + 3) // 4) ** 2, dim)
        self.norm_3 = nn.BatchNorm1d(dim)
        self.head = nn.Linear(dim, classes)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm_1(self.conv_1(x)))
        x = F.relu(self.norm_2(self.conv_2(x)))
        return self.norm_3(self.hidden(x.flatten(1)))


class ResidualCNN(Classifier):
    """A strided stem, two pooled convolutions and a residual one, global maxima, ``dim`` features.

    For photographs of 16 pixels or more; 231,000 weights, whatever the side.
    """

    mirror = True
    widths: ClassVar[tuple[int, int, int]] = (32, 64, 120)

    def __init__(self, channels: int, side: int, classes: int, dim: int = 64) -> None:
        super().__init__()
        a, b, c = self.widths
        self.conv_1 = nn.Conv2d(channels, a, 4, stride=2, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(a)
        self.conv_2 = nn.Conv2d(a, b, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(b)
        self.conv_3 = nn.Conv2d(b, c, 3, padding=1, bias=False)
        self.norm_3 = nn.BatchNorm2d(c)
        self.conv_4 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.norm_4 = nn.BatchNorm2d(c)
        self.hidden = nn.Linear(c, dim)
        self.norm_5 = nn.BatchNorm1d(dim)
        self.head = nn.Linear(dim, classes)

    def features(self, x: Tensor) -> Tensor:
        # Channels last: half the time of the convolutions on a CPU.
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.norm_1(self.conv_1(x)))
        x = F.max_pool2d(F.relu(self.norm_2(self.conv_2(x))), 2)
        x = F.max_pool2d(F.relu(self.norm_3(self.conv_3(x))), 2)
        x = x + F.relu(self.norm_4(self.conv_4(x)))
        return self.norm_5(self.hidden(x.amax((2, 3))))


CLASSIFIERS: dict[str, type[Classifier]] = {"strided": StridedCNN, "residual": ResidualCNN}
