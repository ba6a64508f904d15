"""The settings of a training run that are plain numbers and names."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from sde_diffusion.denoisers.precision import checked
from sde_diffusion.errors import InputError
from sde_diffusion.system.storage import asset, fingerprint
from sde_diffusion.training.ema import gamma_of

DTYPES = {"float32": torch.float32, "float64": torch.float64}
STRATEGIES = ("ddp", "fsdp")
# Keys of the task that are of the model and of the machine.
BESIDE = ("sigma_min", "sigma_max", "device")
LOWEST = {"steps": 1, "batch_size": 1, "accumulate": 1, "warmup": 0, "save_every": 1, "keep": 1,
          "snapshot_every": 0, "patience": 1, "seed": 0, "weight_decay": 0}  # fmt: skip
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
        lr: peak learning rate, reached after ``warmup`` steps; ``schedule`` says what follows.
        weight_decay, betas: of AdamW; 0 is Adam.
        clip: largest gradient norm.
        label_dropout: share of rows whose class label is dropped (classifier-free guidance).
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
    steps: int = 10000
    batch_size: int = 128
    accumulate: int = 1
    lr: float = 1e-3
    warmup: int = 300
    weight_decay: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    clip: float = 1.0
    label_dropout: float = 0.1
    precision: str = "float32"
    dtype: str = "float32"
    compile: bool = False
    channels_last: bool | None = None
    parallel: str = "ddp"
    save_every: int = 500
    keep: int = 2
    snapshot_every: int = 0
    snapshot_widths: list[float] = field(default_factory=lambda: [0.05, 0.1])
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in LOWEST.items():
            if not getattr(self, name) >= low:
                raise InputError(f"{name}={getattr(self, name)}: give a number >= {low}")
        for name in ("lr", "clip"):  # an infinite clip is none
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)}: give a number > 0")
        for name in ("lr", "weight_decay"):
            if math.isinf(getattr(self, name)):
                raise InputError(f"{name}={getattr(self, name)}: give a finite number")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas={self.betas}: give two numbers from 0 to below 1")
        if not 0 <= self.label_dropout <= 1:
            raise InputError(f"label_dropout={self.label_dropout}: give a share from 0 to 1")
        if self.precision == "float64":
            raise InputError("precision=float64: that is the weights' dtype; give dtype=float64")
        checked(self.precision)
        if self.dtype not in DTYPES:
            raise InputError(f"dtype={self.dtype}: choose one of {sorted(DTYPES)}")
        if self.parallel not in STRATEGIES:
            raise InputError(f"parallel={self.parallel}: choose one of {list(STRATEGIES)}")
        if self.snapshot_every and not self.snapshot_widths:
            raise InputError("snapshot_widths=[]: give one or more, or snapshot_every=0")
        for width in self.snapshot_widths:
            gamma_of(width)

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of the weights, the optimizer's state and the batches."""
        return DTYPES[self.dtype]

    @property
    def widths(self) -> list[float]:
        """Of the averages that are tracked for post-hoc EMA."""
        return self.snapshot_widths if self.snapshot_every else []

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
