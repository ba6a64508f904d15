"""The Inception network of the Fréchet inception distance, up to its 2,048 pooled features.

Inception v3 (arXiv:1512.00567) as TensorFlow's graph of December 2015 runs it, which the published
FID (arXiv:1706.08500) is made with: averages leave the padding out, and the last block takes a
maximum where the others average. Names of weights are those of the public PyTorch ports.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]
# Input channels, output channels, kernel, stride, padding.
Layer = tuple[int, int, Pair, int, Pair]


def square(c_in: int, c_out: int, k: int = 1, stride: int = 1, pad: int | None = None) -> Layer:
    """A k x k convolution; it keeps the size unless ``pad`` or ``stride`` say otherwise."""
    p = k // 2 if pad is None else pad
    return c_in, c_out, (k, k), stride, (p, p)


def row(c_in: int, c_out: int, k: int) -> Layer:
    """A 1 x k convolution."""
    return c_in, c_out, (1, k), 1, (0, k // 2)


def column(c_in: int, c_out: int, k: int) -> Layer:
    """A k x 1 convolution."""
    return c_in, c_out, (k, 1), 1, (k // 2, 0)


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        c_in, c_out, kernel, stride, padding = layer
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def average(x: Tensor) -> Tensor:
    """Mean over 3 x 3 neighbours, the padding left out."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def maximum(x: Tensor) -> Tensor:
    """Maximum over 3 x 3 neighbours."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


def halve(x: Tensor) -> Tensor:
    """Maximum over 3 x 3 neighbours at every other pixel."""
    return F.max_pool2d(x, 3, stride=2)


POOLS = {"average": average, "maximum": maximum, "halve": halve}


class Mixed(nn.Module):
    """Paths side by side, their outputs concatenated.

    Args:
        layers: the convolutions by name.
        paths: names of convolutions and pools, one path a string; a beginning that several paths
            share is computed once.
    """

    def __init__(self, layers: dict[str, Layer], paths: list[str]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, Convolution(layer))
        self.paths = [tuple(path.split()) for path in paths]

    def forward(self, x: Tensor) -> Tensor:
        outputs: dict[tuple[str, ...], Tensor] = {(): x}
        for path in self.paths:
            for i, name in enumerate(path):
                if path[: i + 1] not in outputs:
                    step = POOLS[name] if name in POOLS else self.get_submodule(name)
                    outputs[path[: i + 1]] = step(outputs[path[:i]])
        return torch.cat([outputs[path] for path in self.paths], 1)


def mixed_a(c: int, pooled: int) -> Mixed:
    """At 35 x 35 pixels."""
    return Mixed(
        {
            "branch1x1": square(c, 64),
            "branch5x5_1": square(c, 48),
            "branch5x5_2": square(48, 64, 5),
            "branch3x3dbl_1": square(c, 64),
            "branch3x3dbl_2": square(64, 96, 3),
            "branch3x3dbl_3": square(96, 96, 3),
            "branch_pool": square(c, pooled),
        },
        [
            "branch1x1",
            "branch5x5_1 branch5x5_2",
            "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3",
            "average branch_pool",
        ],
    )


def mixed_b(c: int) -> Mixed:
    """From 35 x 35 to 17 x 17 pixels."""
    return Mixed(
        {
            "branch3x3": square(c, 384, 3, 2, 0),
            "branch3x3dbl_1": square(c, 64),
            "branch3x3dbl_2": square(64, 96, 3),
            "branch3x3dbl_3": square(96, 96, 3, 2, 0),
        },
        ["branch3x3", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3", "halve"],
    )


def mixed_c(c: int, m: int) -> Mixed:
    """At 17 x 17 pixels, by rows and columns of seven."""
    return Mixed(
        {
            "branch1x1": square(c, 192),
            "branch7x7_1": square(c, m),
            "branch7x7_2": row(m, m, 7),
            "branch7x7_3": column(m, 192, 7),
            "branch7x7dbl_1": square(c, m),
            "branch7x7dbl_2": column(m, m, 7),
            "branch7x7dbl_3": row(m, m, 7),
            "branch7x7dbl_4": column(m, m, 7),
            "branch7x7dbl_5": row(m, 192, 7),
            "branch_pool": square(c, 192),
        },
        [
            "branch1x1",
            "branch7x7_1 branch7x7_2 branch7x7_3",
            "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5",
            "average branch_pool",
        ],
    )


def mixed_d(c: int) -> Mixed:
    """From 17 x 17 to 8 x 8 pixels."""
    return Mixed(
        {
            "branch3x3_1": square(c, 192),
            "branch3x3_2": square(192, 320, 3, 2, 0),
            "branch7x7x3_1": square(c, 192),
            "branch7x7x3_2": row(192, 192, 7),
            "branch7x7x3_3": column(192, 192, 7),
            "branch7x7x3_4": square(192, 192, 3, 2, 0),
        },
        [
            "branch3x3_1 branch3x3_2",
            "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4",
            "halve",
        ],
    )


def mixed_e(c: int, pool: str) -> Mixed:
    """At 8 x 8 pixels; ``pool`` is ``average`` in one of both blocks, ``maximum`` in the other."""
    double = "branch3x3dbl_1 branch3x3dbl_2"
    return Mixed(
        {
            "branch1x1": square(c, 320),
            "branch3x3_1": square(c, 384),
            "branch3x3_2a": row(384, 384, 3),
            "branch3x3_2b": column(384, 384, 3),
            "branch3x3dbl_1": square(c, 448),
            "branch3x3dbl_2": square(448, 384, 3),
            "branch3x3dbl_3a": row(384, 384, 3),
            "branch3x3dbl_3b": column(384, 384, 3),
            "branch_pool": square(c, 192),
        },
        [
            "branch1x1",
            "branch3x3_1 branch3x3_2a",
            "branch3x3_1 branch3x3_2b",
            f"{double} branch3x3dbl_3a",
            f"{double} branch3x3dbl_3b",
            f"{pool} branch_pool",
        ],
    )


class InceptionV3(nn.Module):
    """Images -1 .. 1 [N, 3, 299, 299] -> features [N, 2048], means over the last 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(square(3, 32, 3, 2, 0))
        self.Conv2d_2a_3x3 = Convolution(square(32, 32, 3, 1, 0))
        self.Conv2d_2b_3x3 = Convolution(square(32, 64, 3))
        self.Conv2d_3b_1x1 = Convolution(square(64, 80))
        self.Conv2d_4a_3x3 = Convolution(square(80, 192, 3, 1, 0))
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = (
            mixed_a(192, 32),
            mixed_a(256, 64),
            mixed_a(288, 64),
        )
        self.Mixed_6a = mixed_b(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (
            mixed_c(768, 128),
            mixed_c(768, 160),
            mixed_c(768, 160),
            mixed_c(768, 192),
        )
        self.Mixed_7a = mixed_d(768)
        self.Mixed_7b, self.Mixed_7c = mixed_e(1280, "average"), mixed_e(2048, "maximum")

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(halve(x))))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
