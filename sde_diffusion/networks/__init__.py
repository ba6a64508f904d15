"""Score networks: plain modules F(x, c_noise, cond), found by a registered name.

A checkpoint stores a name of this registry and JSON arguments, nothing else, so loading a
stranger's file can build a network of ours or of an installed package that declares the entry
point group ``sde_diffusion.networks``, and can run no other code.
"""

from sde_diffusion.networks.adm import ADM
from sde_diffusion.networks.diffusers import Diffusers
from sde_diffusion.networks.dit import DiT
from sde_diffusion.networks.dit_published import PublishedDiT
from sde_diffusion.networks.edm2 import EDM2
from sde_diffusion.networks.mlp import MLP
from sde_diffusion.networks.ncsnpp import NCSNpp
from sde_diffusion.networks.registry import Network, build, names, register
from sde_diffusion.networks.songunet import SongUNet
from sde_diffusion.networks.unet import UNet

__all__ = [
    "ADM",
    "EDM2",
    "MLP",
    "DiT",
    "Diffusers",
    "NCSNpp",
    "Network",
    "PublishedDiT",
    "SongUNet",
    "UNet",
    "build",
    "names",
    "register",
]  # fmt: skip
