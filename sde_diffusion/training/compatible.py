"""Whether data, a network and weights to start from belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sde_diffusion.conditions.condition import TEXT
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.storage import asset


def check_fit(spec: Spec, data: ImageSet) -> None:
    """InputError unless the data have the shape and the labels that the network expects.

    And unless its noise levels are a range.
    """
    if not 0 < spec.sigma_min < spec.sigma_max < math.inf:
        raise InputError(
            f"sigma_min={spec.sigma_min:g}, sigma_max={spec.sigma_max:g}: give 0 < sigma_min < "
            "sigma_max"
        )
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
            f"the network expects {spec.classes}; give it classes={data.classes}"
        )


def text_of(init: str | None) -> Mapping[str, Any] | None:
    """The words and the length of the captions that the model of a file reads; None if none."""
    if init is None:
        return None
    try:
        spec, _ = read_checkpoint(asset(init), prefix="no weights.")
    except InputError:  # ``start_from`` says why
        return None
    return spec.conditions.get(TEXT)


def start_from(init: str, spec: Spec, network: nn.Module) -> None:
    """Give ``network`` the (averaged) weights of a checkpoint file, or of a shipped model's name.

    InputError unless that is the same network under the same parameterization.
    """
    try:
        other, tensors = read_checkpoint(asset(init), prefix="model.")
    except InputError as error:
        raise InputError(f"init={init}: {error}") from error
    if other.network != spec.network or other.parameterization != spec.parameterization:
        raise InputError(
            f"init={init}: is network={other.network}, parameterization={other.parameterization}, "
            f"not {spec.network}, {spec.parameterization}; choose the same"
        )
    ours, theirs = (each.conditions.get(TEXT, {}).get("words") for each in (spec, other))
    if ours != theirs and ours and theirs:
        strange = sorted(set(ours) - set(theirs))[:5]
        raise InputError(
            f"init={init}: reads other words than the captions have ({', '.join(strange)}, say), "
            "or shorter sentences; leave init out"
        )
    state: dict[str, Tensor] = network.state_dict()
    wrong = sorted(
        name
        for name in state.keys() | tensors.keys()
        if name not in state or name not in tensors or state[name].shape != tensors[name].shape
    )
    if wrong:
        raise InputError(
            f"init={init}: its weights do not fit ({wrong[0]}, {len(wrong)} in all); "
            f"it was built with {other.network_args}"
        )
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise InputError(f"init={init}: holds weights that are no finite numbers; give another")
    network.load_state_dict(tensors)
