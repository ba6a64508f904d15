"""All that changes while a run goes on, as tensors: what its checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.networks.layers.magnitude import unit_layers
from sde_diffusion.system.processes import spread_like
from sde_diffusion.training.ema import EMA, Averaged
from sde_diffusion.training.posthoc import Snapshots
from sde_diffusion.training.watch import StepWatch
from sde_diffusion.training.weighting import Weighting


class State:
    """Weights, averages, optimizer and counters of a run.

    Weights are restored before they are spread over processes, the optimizer after it was made:
    ``restore_weights``, then ``optimizer = ...``, then ``restore_optimizer``.

    Attributes:
        denoiser, weighting: what is trained. ema: the averaged weights. snapshots: those kept for
            later, None if none are. optimizer: of all that is trained.
        step: optimizer steps done. watch: which of them had no finite loss.
        best: the lowest validation loss at a save so far.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        denoiser: NetworkDenoiser,
        weighting: Weighting,
        ema: EMA,
        patience: int,
        snapshots: Sequence[float] = (),
    ) -> None:
        self.denoiser, self.weighting = denoiser, weighting
        self.ema = Averaged(denoiser.network, ema)
        self.snapshots = Snapshots(denoiser.network, snapshots) if snapshots else None
        self._unit_layers = unit_layers(denoiser.network)
        self.watch = StepWatch(patience, next(denoiser.network.parameters()).device)
        self.step = 0
        self.best = math.inf

    def averages(self) -> list[nn.Module]:
        """All averaged networks."""
        more = [] if self.snapshots is None else self.snapshots.averages
        return [average.network for average in (self.ema, *more)]

    def optimize(self, lr: float, left_out: Tensor) -> None:
        """A step of the optimizer at rate ``lr``, and forced norms, from the gradients at hand.

        Where ``left_out`` [] is 1 the weights and momenta stay: fused optimizers ask on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.found_inf = left_out  # type: ignore[attr-defined]
        self.optimizer.step()
        for layer in self._unit_layers:
            layer.force()

    def update(self, step: int) -> None:
        """Fold the weights after optimizer step ``step`` into the averages."""
        self.ema.update(step)
        if self.snapshots is not None:
            self.snapshots.update(step)
        self.step = step

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, ``model.*`` being the averaged weights."""
        tensors = prefixed("model.", self.ema.network.state_dict())
        tensors |= prefixed("train.net.", self.denoiser.network.state_dict())
        tensors |= prefixed("train.weighting.", self.weighting.state_dict())
        if self.snapshots is not None:
            tensors |= prefixed("train.snapshots.", self.snapshots.tensors())
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= prefixed(f"train.adam.{i}.", state)
        tensors |= prefixed("train.", self.watch.tensors())
        if math.isfinite(self.best):
            tensors["train.best"] = torch.tensor(self.best, dtype=torch.float64)
        return tensors

    def restore_weights(self, tensors: dict[str, Tensor], step: int) -> None:
        """Weights, averages and counters; KeyError, TypeError, RuntimeError if they do not fit."""
        self.denoiser.network.load_state_dict(under("train.net.", tensors))
        self.weighting.load_state_dict(under("train.weighting.", tensors))
        self.ema.network.load_state_dict(under("model.", tensors))
        if self.snapshots is not None:
            self.snapshots.restore(under("train.snapshots.", tensors))
        self.watch.restore(tensors["train.smoothed"], tensors["train.skipped"])
        self.best = float(tensors.get("train.best", math.inf))
        self.step = step

    def restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        """Momenta and step counts of each parameter; ValueError if they do not fit."""
        recorded: dict[int, dict[str, Tensor]] = {}
        for name, value in under("train.adam.", tensors).items():
            index, key = name.split(".", 1)
            recorded.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for i, values in recorded.items():
            shape = parameters[i].shape if 0 <= i < len(parameters) else None
            wanted = {"step": torch.Size(), "exp_avg": shape, "exp_avg_sq": shape}
            # The fused optimizer checks nothing: it would read beyond a smaller tensor.
            if {key: value.shape for key, value in values.items()} != wanted:
                raise ValueError(f"momenta of parameter {i} do not fit")
        state = {
            i: {key: spread_like(value, parameters[i]) for key, value in values.items()}
            for i, values in recorded.items()
        }
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under names that start with ``prefix``."""
    return {prefix + name: value for name, value in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of ``prefixed``: the tensors whose names start with ``prefix``."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
