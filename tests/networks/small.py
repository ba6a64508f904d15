"""A small twin of every network yaml: the same parts, sizes that a test can afford."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from sde_diffusion import networks
from sde_diffusion.conditions.condition import Condition, Part
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.config.schema import located
from sde_diffusion.networks.registry import Network, registered

# A network of diffusers is its authors': tests/models and tests/peers hold it to what they draw.
YAMLS = [
    path
    for path in sorted((Path(conf_dir()) / "network").glob("*.yaml"))
    if not path.stem.startswith("diffusers")  # an extra
]
SIDE, D = 16, 5


def load(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert type(content) is dict
    return {str(key): value for key, value in content.items()}


def fields(path: Path) -> dict[str, Any]:
    """What the preset gives its network."""
    return {key: value for key, value in load(path).items() if key != "_target_"}


def name(path: Path) -> str:
    """What a checkpoint calls the network of the preset."""
    return registered(located(load(path)["_target_"], "network", Network))


def small_args(path: Path, **given: Any) -> dict[str, Any]:
    """The preset's arguments with its widths divided by 32, multiples of 4, one block a resolution.

    The Fourier frequencies are low ones, since random weights do not smooth the high ones.
    """
    args: dict[str, Any] = {**fields(path), **given}
    sizes = {
        "blocks": 1,
        "depth": 2,
        "size": SIDE,
        "embedding": 16,
        "stem": 8,
        "noise": 16,
        "head_width": 4,
        "scale": 1.0,
        "dropout": 0.0,
    }
    args |= {name: value for name, value in sizes.items() if name in args}
    if "widths" in args:
        args["widths"] = [max(8, width // 128 * 4) for width in args["widths"]]
    if "width" in args:
        args |= {"width": 24} | ({"heads": 6} if "heads" in args else {})
    return args


def shape_of(path: Path) -> tuple[int, ...]:
    """The shape of the data that the twin is for: vectors or images."""
    return (D,) if name(path) == "mlp" else (3, SIDE, SIDE)


def build(path: Path, **given: Any) -> nn.Module:
    """The fresh twin, in evaluation mode, from seed 0."""
    torch.manual_seed(0)
    args = small_args(path, channels=shape_of(path)[0], **given)
    return networks.build(name(path), args).eval()


def shaken(path: Path, **given: Any) -> nn.Module:
    """The twin with no weight at its initial value, so that no branch is closed."""
    network = build(path, **given)
    for name, p in network.named_parameters():
        p.data += 0.1 * torch.randn_like(p)
        if name.endswith(".gain"):  # learned gains: 1 is what they become
            p.data += 1
    return network


def inputs(path: Path, n: int = 3) -> tuple[Tensor, Tensor]:
    """x [n, *shape] ~ N(0, I) and n noise labels."""
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, *shape_of(path), generator=g), torch.linspace(-1.5, 1.1, n)


def told(labels: list[int], **values: Tensor) -> Condition:
    """Class labels and other values of one batch."""
    cond = Condition.label(labels)
    return Condition(cond.parts | {k: Part.of(v, fixed=True) for k, v in values.items()})
