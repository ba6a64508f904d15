"""diffusers' own networks, run and trained as they are: a class of three and its JSON config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.registry import Network, register
from sde_diffusion.system.spelling import none_of

CLASSES = ("UNet2DModel", "UNet2DConditionModel", "DiTTransformer2DModel")
INSTALL = "pip install 'sde_diffusion[pretrained]'"
# What a config may ask for; more is a mistake, or a file that lies.
MAX_NUMBER, MAX_LIST, MAX_LAYERS, MAX_TEXT = 16_384, 16, 128, 64
COUNTS = ("layers_per_block", "num_layers", "transformer_layers_per_block", "reverse_transformer")
# Arguments of a network that asks for more than the image, a time and a class: refused if given.
BESIDE = (
    "class_embed_type",
    "addition_embed_type",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "time_cond_proj_dim",
    "projection_class_embeddings_input_dim",
    "time_embedding_act_fn",
)


@register("diffusers")
class Diffusers(Network):
    """F(x, k, label) of diffusers: told the number k of the noise level, for ``parameterization=
    discrete`` or ``straight``.

    A network with twice as many outputs as channels has the variance in the second half, which is
    left out.

    Args:
        class_name: one of ``CLASSES``. config: arguments of its constructor, JSON values.
        channels: of the image. classes: class labels, 0 for none; a network with a config that
            says nothing of them gets one entry more, which stands for no label.
        null_class: the entry that stands for no label; null: ``classes``.
        nothing_dropped: the network has no such entry: each row must have its label.
    """

    def __init__(
        self,
        class_name: str = "UNet2DModel",
        config: Mapping[str, Any] | None = None,
        channels: int = 1,
        classes: int = 0,
        null_class: int | None = None,
        nothing_dropped: bool = False,
    ) -> None:
        super().__init__()
        checks.within(
            {"channels": (channels, *checks.CHANNELS), "classes": (classes, *checks.CLASSES)}
        )
        checks.flags({"nothing_dropped": nothing_dropped})
        cls = imported(class_name)
        arguments = bounded(dict(config or {}))
        arguments = {"in_channels": channels, "out_channels": channels, **arguments}
        embeds = "num_embeds_ada_norm" if class_name.startswith("DiT") else "num_class_embeds"
        if classes and arguments.get(embeds) is None:
            arguments[embeds] = classes + (embeds == "num_class_embeds")
        check_arguments(cls, class_name, arguments, channels)
        self.network = cls(**arguments)
        for module in self.network.modules():
            if type(module).__name__ == "LabelEmbedding":
                module.dropout_prob = 0.0  # labels are dropped by the training, not inside
        self.channels, self.classes = channels, classes
        self.class_name, self.arguments = class_name, arguments
        self.null_class = None if nothing_dropped else classes if null_class is None else null_class
        self.labelled = arguments.get(embeds) is not None
        entries = int(arguments.get(embeds) or 0) + (class_name.startswith("DiT"))
        if self.labelled and max(classes - 1, self.null_class or 0) >= entries:
            raise InputError(
                f"network.config.{embeds}={arguments[embeds]}: too few for {classes} classes and "
                f"one that stands for no label; give {classes + 1}, or nothing_dropped=true"
            )

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] the number of the level, 0 .. T-1 -> [N, C, H, W]."""
        checks.images(x)
        inputs: dict[str, Any] = {"class_labels": self._labels(x, cond)} if self.labelled else {}
        if self.class_name == "UNet2DConditionModel":
            inputs["encoder_hidden_states"] = None
        (answer,) = self.network(x, c_noise, return_dict=False, **inputs)
        return answer[:, : self.channels]

    def _labels(self, x: Tensor, cond: Condition | None) -> Tensor:
        """int64 [N], rows without a label at the entry that stands for none."""
        part = None if cond is None else cond.parts.get(LABEL)
        if self.null_class is None:
            # What may be dropped was refused before the rows were drawn.
            if part is None:
                raise InputError(no_null(self.classes))
            return part.value
        nothing = torch.full((x.shape[0],), self.null_class, dtype=torch.int64, device=x.device)
        return nothing if part is None else torch.where(part.keep, part.value, nothing)

    def check_condition(self, cond: Condition | None) -> None:
        """InputError for rows without a label, where the network has no entry for them."""
        if self.labelled and self.null_class is None:
            part = None if cond is None else cond.parts.get(LABEL)
            if part is None or not bool(part.keep.all()):
                raise InputError(no_null(self.classes))


def no_null(classes: int) -> str:
    return (
        f"label=null: this network has no entry that stands for no label; give label=0 .. "
        f"{classes - 1}, or label=all, without guidance"
    )


def imported(class_name: str) -> Any:
    """The class of diffusers; InputError for any but the three, or without diffusers."""
    if class_name not in CLASSES:
        raise none_of("network.class_name", class_name, CLASSES)
    try:
        import diffusers
    except ImportError as error:
        raise InputError(f"network=diffusers: diffusers is not installed; {INSTALL}") from error
    return getattr(diffusers, class_name)


def bounded(config: dict[str, Any]) -> dict[str, Any]:
    """A config without its marks (``_class_name``); InputError for sizes beyond any network's."""
    kept = {key: value for key, value in config.items() if not key.startswith("_")}
    for key, value in kept.items():
        most = MAX_LAYERS if key.startswith(COUNTS) else MAX_NUMBER
        _check(key, value, most)
    return kept


def _check(key: str, value: Any, most: int, depth: int = 0) -> None:
    if isinstance(value, list | tuple) and depth < 2 and len(value) <= MAX_LIST:
        for entry in value:
            _check(key, entry, most, depth + 1)
    elif (
        not (value is None or isinstance(value, bool))
        and not (isinstance(value, int | float) and abs(value) <= most)
        and not (isinstance(value, str) and len(value) <= MAX_TEXT)
    ):
        shown = str(value)[:40]
        raise InputError(
            f"network.config.{key}={shown}: give true, false, null, a short text, a number up to "
            f"{most}, or a list of at most {MAX_LIST} of them"
        )


def check_arguments(cls: Any, name: str, arguments: dict[str, Any], channels: int) -> None:
    """InputError for what the class does not take, or what is told the network here does not."""
    takes = set(inspect.signature(cls.__init__).parameters) - {"self"}
    unknown = sorted(set(arguments) - takes)
    if unknown:
        raise InputError(
            f"network.config.{unknown[0]}: {name} takes no such argument; leave it out, or update "
            "diffusers"
        )
    beside = [key for key in BESIDE if arguments.get(key) is not None]
    if beside:
        raise InputError(
            f"network.config.{beside[0]}={arguments[beside[0]]}: only networks of an image, a time "
            "and a class label run here; leave it out"
        )
    if arguments.get("time_embedding_type", "positional") != "positional":
        raise InputError(
            f"network.config.time_embedding_type={arguments['time_embedding_type']}: its label is "
            "no number of a level; positional is what runs here"
        )
    if arguments["in_channels"] != channels or arguments["out_channels"] not in (
        channels,
        2 * channels,
        None,
    ):
        raise InputError(
            f"network.config.in_channels={arguments['in_channels']}, out_channels="
            f"{arguments['out_channels']}: the images have {channels} channels"
        )
    blocks = [*(arguments.get("down_block_types") or ()), *(arguments.get("up_block_types") or ())]
    blocks += [str(arguments.get("mid_block_type", "UNetMidBlock2DCrossAttn"))]
    if name == "UNet2DConditionModel" and any("Cross" in str(block) for block in blocks):
        raise InputError(
            "network.config: UNet2DConditionModel with blocks of cross-attention reads a text; "
            "only those of class labels run here"
        )
