"""The settings of a training run that are plain numbers and names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import torch

from sde_diffusion.conditions.condition import LABEL, LAYOUT, REFERENCE, TEXT
from sde_diffusion.denoisers.precision import checked
from sde_diffusion.errors import InputError
from sde_diffusion.system.ranges import Batch, OneOf, Seed, Within, check_dataclass
from sde_diffusion.system.storage import asset, fingerprint

DTYPES = {"float32": torch.float32, "float64": torch.float64}
STRATEGIES = ("ddp", "fsdp")
# Keys of the task that are of the model and of the machine.
BESIDE = ("codec", "sigma_min", "sigma_max", "device")
# What may change when a run is resumed: nothing that it computes, up to rounding.
FREE = ("steps", "accumulate", "compile", "channels_last", "parallel", "save_every", "keep",
        "snapshot_every", "snapshot_widths", "patience")  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train.

    Attributes:
        init: a checkpoint, or a shipped model's name, whose weights training starts from.
        steps: optimizer steps in all.
        batch_size: images a step, over all processes. accumulate: parts of a process's share that
            go through the network one after the other, for batches that memory does not hold.
        frozen: names of weights, or beginnings of them, that stay as they start: ``side.text`` is
            the text encoder.
        lr: peak learning rate, reached after ``warmup`` steps; ``schedule`` says what follows.
        weight_decay, betas: of AdamW; 0 is Adam.
        clip: largest gradient norm.
        label_dropout: share of rows whose class label is dropped (classifier-free guidance).
        text_dropout, layout_dropout, reference_dropout: likewise, each on its own, where the data
            have captions, layouts and reference patches.
        precision: of the network's products, ``float32`` or ``bfloat16`` (autocast).
        dtype: of the weights and the batches, ``float32`` or ``float64``.
        compile: whether torch.compile makes the network's code.
        channels_last: memory format of the weights; null: where it is known to help.
        parallel: of several processes, each has all weights (``ddp``) or a part (``fsdp``).
        save_every: steps between checkpoints, sample grids and validation.
        keep: how many of the last checkpoints stay.
        snapshot_every: steps between what post-hoc EMA is made of, the averages of
            ``snapshot_widths``; 0 for none.
        patience: steps in a row without a finite loss after which the run stops.
        seed: of weights, batches, noise.
    """

    init: str | None = None
    steps: Annotated[int, Within("1 <= steps <= 1e12")] = 10000
    batch_size: Batch = 128
    accumulate: Annotated[int, Within("1 <= accumulate <= 1000000")] = 1
    frozen: list[str] = field(default_factory=list)
    lr: Annotated[float, Within("0 < lr <= 1000")] = 1e-3
    warmup: Annotated[int, Within("0 <= warmup <= 1e12")] = 300
    weight_decay: Annotated[float, Within("0 <= weight_decay <= 1000")] = 0.0
    betas: Annotated[list[float], Within("0 <= betas < 1")] = field(
        default_factory=lambda: [0.9, 0.999]
    )
    clip: Annotated[float, Within("0 < clip <= inf")] = 1.0  # infinite: none
    label_dropout: Annotated[float, Within("0 <= label_dropout <= 1")] = 0.1
    text_dropout: Annotated[float, Within("0 <= text_dropout <= 1")] = 0.1
    layout_dropout: Annotated[float, Within("0 <= layout_dropout <= 1")] = 0.5
    reference_dropout: Annotated[float, Within("0 <= reference_dropout <= 1")] = 0.1
    precision: str = "float32"
    dtype: Annotated[str, OneOf(*DTYPES)] = "float32"
    compile: bool = False
    channels_last: bool | None = None
    parallel: Annotated[str, OneOf(*STRATEGIES)] = "ddp"
    save_every: Annotated[int, Within("1 <= save_every <= 1e12")] = 500
    keep: Annotated[int, Within("1 <= keep <= 1e12")] = 2
    snapshot_every: Annotated[int, Within("0 <= snapshot_every <= 1e12")] = 0
    snapshot_widths: Annotated[list[float], Within("0.001 <= snapshot_widths <= 0.28")] = field(
        default_factory=lambda: [0.05, 0.1]
    )
    patience: Annotated[int, Within("1 <= patience <= 1e12")] = 10
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_dataclass(self)
        if len(self.betas) != 2:
            raise InputError(f"betas={self.betas}: give two numbers from 0 to below 1")
        if self.precision == "float64":
            raise InputError("precision=float64: that is the weights' dtype; give dtype=float64")
        checked(self.precision)
        if self.snapshot_every and not self.snapshot_widths:
            raise InputError("snapshot_widths=[]: give one or more, or snapshot_every=0")

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of the weights, the optimizer's state and the batches."""
        return DTYPES[self.dtype]

    @property
    def widths(self) -> list[float]:
        """Of the averages that are tracked for post-hoc EMA."""
        return self.snapshot_widths if self.snapshot_every else []

    @property
    def dropout(self) -> dict[str, float]:
        """The rate at which a condition is dropped, by the name of its part."""
        return {name: getattr(self, f"{name}_dropout") for name in (LABEL, TEXT, LAYOUT, REFERENCE)}

    def identity(self) -> dict[str, Any]:
        """What a resumed run must share."""
        fixed = {name: value for name, value in asdict(self).items() if name not in FREE}
        if self.init is not None:  # a file is known by its content: it may move
            path = asset(self.init)
            if path.is_file():
                fixed["init"] = fingerprint(path)
            else:  # gone, which matters no more to a run that is resumed
                del fixed["init"]
        return {**fixed, "snapshot_widths": self.widths}
