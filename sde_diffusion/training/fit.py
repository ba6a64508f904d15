"""Whether data and a network belong together."""

from __future__ import annotations

from sde_diffusion.checkpoint import Spec
from sde_diffusion.data.images import ImageSet
from sde_diffusion.errors import InputError


def check_fit(spec: Spec, data: ImageSet) -> None:
    """InputError unless the data have the shape and the labels that the network expects."""
    if not len(data):
        raise InputError(f"data={data.name}: holds no images")
    if tuple(data.images.shape[1:]) != tuple(spec.shape):
        raise InputError(
            f"data={data.name}: images are {tuple(data.images.shape[1:])}, "
            f"the network expects {tuple(spec.shape)}"
        )
    if spec.classes and (data.labels is None or spec.classes != data.classes):
        raise InputError(
            f"data={data.name}: has {data.classes if data.labels is not None else 0} classes, "
            f"the network expects {spec.classes}; set network.args.classes={data.classes}"
        )
