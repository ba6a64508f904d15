"""A checkpoint of the smallest U-Net, with small random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from sde_diffusion.models.file import save_checkpoint
from sde_diffusion.models.spec import Spec


def write_tiny(path: Path, classes: int) -> None:
    """A model of 8 x 8 pixels and ``classes`` labels, with weights N(0, 0.05^2)."""
    args = {"channels": 1, "widths": [8], "blocks": 1, "attention": [], "patch": 1,
            "embedding": 8, "classes": classes}  # fmt: skip
    spec = Spec("unet", args, "karras", {}, (1, 8, 8), classes=classes)
    torch.manual_seed(0)
    network = spec.build().network
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.05)
    save_checkpoint(path, spec, {f"model.{k}": v for k, v in network.state_dict().items()})
