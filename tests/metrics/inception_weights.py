"""Random weights for the Inception network under the names that the published file has."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sde_diffusion.metrics.extractors.inception_v3 import InceptionV3


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """Such that activations, and so the features, are of order 1 through all layers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in InceptionV3().state_dict().items()}
    found = {}
    for name, shape in shapes.items():
        if name.endswith("conv.weight"):
            std = (2 / shape[1:].numel()) ** 0.5
            found[name] = std * torch.randn(shape, generator=generator)
        elif name.endswith("running_var"):
            found[name] = 0.8 + 0.4 * torch.rand(shape, generator=generator)
        elif name.endswith("bn.weight"):
            found[name] = 0.9 + 0.2 * torch.rand(shape, generator=generator)
        elif not name.endswith("tracked"):
            found[name] = 0.1 * torch.randn(shape, generator=generator)
    found["fc.weight"] = torch.randn(1008, 2048, generator=generator)
    found["fc.bias"] = torch.randn(1008, generator=generator)
    return found


def write_random_weights(path: Path) -> Path:
    """A PyTorch state dict, as the published file is one."""
    torch.save(random_weights(), path)
    return path


def random_images(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
