"""The settings of a training run that are plain numbers and names."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sde_diffusion.errors import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
LOWEST = {"steps": 1, "batch_size": 1, "save_every": 1, "warmup": 0, "keep": 1, "patience": 1,
          "seed": 0}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train.

    Attributes:
        steps: optimizer steps in all. batch_size: images a step.
        lr: peak learning rate, reached after ``warmup`` steps; ``schedule`` says what follows.
        clip: largest gradient norm.
        label_dropout: share of rows whose class label is dropped (classifier-free guidance).
        precision: ``float32``, ``bfloat16`` (autocast of the network, weights in float32) or
            ``float64``.
        save_every: steps between checkpoints, sample grids and validation.
        keep: how many of the last checkpoints stay.
        patience: steps in a row without a finite loss after which the run stops.
        seed: of weights, batches, noise.
    """

    steps: int = 10000
    batch_size: int = 128
    lr: float = 1e-3
    warmup: int = 300
    clip: float = 1.0
    label_dropout: float = 0.1
    precision: str = "float32"
    save_every: int = 500
    keep: int = 2
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in LOWEST.items():
            if getattr(self, name) < low:
                raise InputError(f"{name}={getattr(self, name)}: give a number >= {low}")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)}: give a number > 0")
        if not 0 <= self.label_dropout <= 1:
            raise InputError(f"label_dropout={self.label_dropout}: give a share from 0 to 1")
        if self.precision not in DTYPES:
            raise InputError(f"precision={self.precision}: choose one of {sorted(DTYPES)}")

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, the optimizer's state and the batches."""
        return DTYPES[self.precision]
