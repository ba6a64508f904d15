"""Post-hoc EMA: any width of the power-function average, from a few stored during training.

Two averages of different widths are kept during training and stored every so often. Their
profiles span a space in which the profile of any other width is nearly contained, so weights that
were never tracked are a sum of stored ones (EDM2, arXiv:2312.02696, section 3.2 and algorithm 3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sde_diffusion.errors import InputError
from sde_diffusion.models.file import read_checkpoint, save_checkpoint, shapes
from sde_diffusion.models.sources.latents.autoencoder import codec_of, keep_beside
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.processes import rank
from sde_diffusion.training.ema import Averaged, PowerEMA, gamma_of

FOLDER = "snapshots"
LATER = re.compile(r"step-(\d+)-ema-")
WIDTHS = (0.05, 0.1)


def distinct(widths: Sequence[float]) -> bool:
    """Whether the widths differ in the digits that name their files."""
    return len({f"{width:g}" for width in widths}) == len(widths)


class Snapshots:
    """The averages that a run tracks for later, and their files.

    Args:
        network: the one being trained. widths: sigma_rel of each average.
    """

    def __init__(self, network: nn.Module, widths: Sequence[float] = WIDTHS) -> None:
        if not widths or not distinct(widths):
            raise InputError(f"snapshot_widths={list(widths)}: give different widths, one or more")
        self.widths = list(widths)
        self.averages = [Averaged(network, PowerEMA(width)) for width in widths]

    def update(self, step: int) -> None:
        """Fold in the weights after optimizer step ``step`` (1, 2, ...)."""
        for average in self.averages:
            average.update(step)

    def tensors(self) -> dict[str, Tensor]:
        """All state, for a run's checkpoint."""
        return {
            f"{width:g}/{name}": value
            for width, average in zip(self.widths, self.averages, strict=True)
            for name, value in average.network.state_dict().items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of ``tensors``; KeyError or RuntimeError if they are of other widths or nets."""
        for width, average in zip(self.widths, self.averages, strict=True):
            names = average.network.state_dict()
            average.network.load_state_dict({n: tensors[f"{width:g}/{n}"] for n in names})

    def save(self, run: Path, spec: Spec) -> None:
        """Write one file a width below ``run``, each a checkpoint of its own, at ``spec.step``.

        Files of later steps are removed.
        """
        if rank() == 0:
            # Of a longer run that was cut off: this one may come there by another way.
            for path in (run / FOLDER).glob("step-*-ema-*.safetensors"):
                if (match := LATER.match(path.name)) is not None and int(match[1]) > spec.step:
                    path.unlink()
        for width, average in zip(self.widths, self.averages, strict=True):
            path = run / FOLDER / f"step-{spec.step:08d}-ema-{width:g}.safetensors"
            weights = {f"model.{k}": v for k, v in average.network.state_dict().items()}
            save_checkpoint(path, _marked(spec, width), weights)


@dataclass(frozen=True)
class Snapshot:
    """A snapshot file: the average of width ``sigma_rel`` after step ``spec.step``."""

    path: Path
    spec: Spec
    sigma_rel: float


def stored(run: Path, step: int | None = None) -> list[Snapshot]:
    """The snapshots of a run's folder up to ``step`` (null: the last), in order of step.

    InputError if there are none to use, or none of that step.
    """
    snapshots = []
    for path in sorted((run / FOLDER).glob("*.safetensors")):
        spec, _ = read_checkpoint(path, prefix="no tensors")
        width = spec.config.get("ema_width")
        if not isinstance(width, float) or spec.step < 1:
            raise InputError(f"{path}: records no EMA width and step; remove it")
        snapshots.append(Snapshot(path, spec, width))
    if not snapshots:
        raise InputError(
            f"checkpoint={run}: has no {FOLDER}/; give the folder of a run trained with "
            "snapshot_every=STEPS"
        )
    first = snapshots[0].spec
    for other in snapshots:
        if (other.spec.network, other.spec.network_args) != (first.network, first.network_args):
            raise InputError(f"{other.path}: is of another network than {snapshots[0].path.name}")
    steps = sorted({s.spec.step for s in snapshots})
    if step not in (None, *steps):
        raise InputError(f"step={step}: no snapshot of it; choose one of {steps}")
    used = [s for s in snapshots if s.spec.step <= (steps[-1] if step is None else step)]
    return sorted(used, key=lambda s: s.spec.step)


def coefficients(
    steps: Sequence[int], widths: Sequence[float], step: int, sigma_rel: float
) -> np.ndarray:
    """c [S] of the sum over stored averages nearest to that of ``sigma_rel`` after ``step``.

    Least squares between profiles p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on [0, t], whose
    products are int p_a p_b = (gamma_a + 1)(gamma_b + 1) / (gamma_a + gamma_b + 1)
    (m/t_a)^(gamma_a + 1) (m/t_b)^(gamma_b + 1) / m, m = min(t_a, t_b), under sum c = 1: what does
    not change in training is kept as it is.
    """
    gamma = np.array([gamma_of(width) for width in widths])
    # In units of the target's step: products of order one.
    t = np.array(steps, dtype=np.float64) / step
    gram = _products(t[:, None], gamma[:, None], t[None], gamma[None])
    wanted = _products(t, gamma, np.ones(1), np.array([gamma_of(sigma_rel)]))
    n = len(t)
    system = np.ones((n + 1, n + 1))
    system[:n, :n], system[n, n] = gram, 0.0
    return np.linalg.lstsq(system, np.append(wanted, 1.0), rcond=1e-14)[0][:n]


def _products(t: np.ndarray, a: np.ndarray, s: np.ndarray, b: np.ndarray) -> np.ndarray:
    m = np.minimum(t, s)
    share = (a + 1) * (b + 1) / (a + b + 1)
    return np.asarray(share * (m / t) ** (a + 1) * (m / s) ** (b + 1) / m)


def reconstruct(
    run: Path, sigma_rel: float, step: int | None = None
) -> tuple[Spec, dict[str, Tensor]]:
    """Spec and float32 weights of the average of width ``sigma_rel`` after ``step`` of a run.

    One file is in memory at a time; buffers are those of that step. InputError for a width that no
    average has, or a step without snapshot.
    """
    used = stored(run, step)
    c = coefficients(
        [s.spec.step for s in used], [s.sigma_rel for s in used], used[-1].spec.step, sigma_rel
    )
    fitting = shapes(used[-1].spec)
    total: dict[str, Tensor] = {}
    for weight, snapshot in zip(c.tolist(), used, strict=True):
        _, tensors = read_checkpoint(snapshot.path, prefix="model.")
        if {name: value.shape for name, value in tensors.items()} != fitting:
            raise InputError(f"{snapshot.path}: weights do not fit network {used[-1].spec.network}")
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise InputError(f"{snapshot.path}: holds weights that are no finite numbers")
        for name, value in tensors.items():
            if not value.is_floating_point():
                total[name] = value
                continue
            part = weight * value.double()
            total[name] = total[name] + part if name in total else part
    weights = {k: v.float() if v.is_floating_point() else v for k, v in total.items()}
    return _marked(used[-1].spec, sigma_rel), weights


def write_average(run: Path, sigma_rel: float, path: Path, step: int | None = None) -> None:
    """Write ``reconstruct``'s weights as a model to sample from, in float16, atomically.

    A file that holds the very same already is left as it is: what was made with it knows it by its
    bytes.
    """
    spec, weights = reconstruct(run, sigma_rel, step)
    half = {
        f"model.{name}": value.half() if value.is_floating_point() else value
        for name, value in weights.items()
    }
    if not _holds(path, spec, half):
        save_checkpoint(path, spec, half)


def averages(
    run: Path, widths: Sequence[float], step: int | None, folder: Path
) -> dict[float, Path]:
    """Models of the post-hoc averages of these widths, written into ``folder``."""
    if not widths:
        raise InputError("width=[]: give at least one relative width, 0.1 say")
    for width in widths:
        gamma_of(width)
    if not distinct(widths):
        raise InputError(f"width={list(widths)}: give widths that differ in six digits")
    last = stored(run, step)[-1]  # refused before anything is written
    keep_beside(codec_of(last.spec, last.path), folder)
    paths = {width: folder / f"ema-{width:g}.safetensors" for width in widths}
    for width, path in tqdm(
        paths.items(), desc="averages", unit="width", leave=False, disable=hidden()
    ):
        write_average(run, width, path, step)
    return paths


def _holds(path: Path, spec: Spec, tensors: dict[str, Tensor]) -> bool:
    """Whether a checkpoint is there, with this content."""
    try:
        there, on_disk = read_checkpoint(path)
    except InputError:
        return False
    return (
        there == spec
        and on_disk.keys() == tensors.keys()
        and all(torch.equal(on_disk[name], value) for name, value in tensors.items())
    )


def _marked(spec: Spec, sigma_rel: float) -> Spec:
    return replace(spec, config={**spec.config, "ema_width": float(sigma_rel)})
