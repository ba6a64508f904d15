"""Convolutions on a torus, so that what a network draws has no border."""

from __future__ import annotations

import copy

from torch import nn

from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers.magnitude import MPConv
from sde_diffusion.networks.layers.resampling import Resample


def wrapped_around(network: nn.Module) -> nn.Module:
    """The network with convolutions that see the left edge beyond the right one, and the top below
    the bottom; its weights are shared.

    InputError for layers that put zeros there by themselves.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    around = copy.deepcopy(network, dict(shared))
    for layer in around.modules():
        if isinstance(layer, MPConv) or (isinstance(layer, Resample) and layer.padding):
            raise InputError(
                f"seamless: the network's {type(layer).__name__} puts zeros around a picture; "
                "leave it out, or train network=unet_texture"
            )
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "circular"
    return around
