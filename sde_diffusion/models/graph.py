"""A denoiser as a graph that runs without this package: ONNX, or an exported program of torch."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import LABEL, TEXT, Condition, Part
from sde_diffusion.denoisers.base import CountedDenoiser, check_means
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.storage import beside

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
INSTALL = "pip install 'sde_diffusion[export]'"
ROWS = (2, 3)  # of the example, and of the check
TOLERANCE = 1e-4  # of the check, relative to the largest value
DENOISED = "denoised"
FEW = 63  # rows of a program whose network does something else from 64 rows on, as diffusers' do
Run = Callable[[Sequence[Tensor]], Tensor]


class Written(NamedTuple):
    """A graph that was written.

    Attributes:
        difference: its largest difference from the model, relative to the largest value.
        rows: how many it takes at once; None: any number. More are refused by the program itself.
    """

    difference: float
    rows: int | None = None


@final
class DenoiserGraph(nn.Module):
    """D(x, sigma, conditions) as a function of tensors alone.

    Inputs are ``x`` float [N, *shape] = x_0 + sigma n, ``sigma`` float [N], and in their order
    what the model is conditioned on: ``label`` int64 [N], negative for none; of others their
    numbers, zeros for none. The output is the estimate of x_0, [N, *shape]. Levels out of the
    model's range are not refused.

    Args:
        denoiser: of one network. names: of the conditions.
    """

    def __init__(self, denoiser: CountedDenoiser, names: Sequence[str]) -> None:
        super().__init__()
        self.denoiser, self.names = denoiser, tuple(names)

    def forward(self, x: Tensor, sigma: Tensor, conditions: Sequence[Tensor]) -> Tensor:
        column = sigma[(slice(None), *[None] * (x.ndim - 1))]
        by_name = dict(zip(self.names, conditions, strict=True))
        parts = {name: self._part(name, value) for name, value in by_name.items()}
        return self.denoiser.denoise(x, column, Condition(parts) if parts else None)

    @staticmethod
    def _part(name: str, value: Tensor) -> Part:
        if name == LABEL:
            return Part(value.clamp_min(0), value >= 0)
        return Part(value, (value != 0).flatten(1).any(1))


def save_graph(model: OpenedModel, path: Path, format: str) -> Written:
    """Write the denoiser of ``model`` as a graph of any number of rows.

    What was written is run once more, by onnxruntime or by torch, on other numbers of rows.

    Args:
        path: a new file .onnx, or .pt2 of ``torch_export``.

    InputError for a model that is no single network of numbers, and where the two disagree.
    """
    if path.suffix != SUFFIXES[format]:
        raise InputError(f"output={path}: give a name that ends in {SUFFIXES[format]}")
    if path.exists():
        raise InputError(f"output={path}: is there already; give another name")
    write = _onnx if format == "onnx" else _program
    graph = graph_of(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(**beside(path)) as spare:
        written = Path(spare) / path.name
        with quiet(), torch.no_grad():
            try:
                run, rows = write(model, graph, written)
            except InputError:
                raise
            except Exception as failure:  # whatever a tracer cannot follow
                reason = " ".join(str(failure).split())[:160] or type(failure).__name__
                raise InputError(
                    f"format={format}: this network cannot be traced ({reason}); give format=hub"
                ) from failure
            error = _difference(model, graph, run)
        if not error <= TOLERANCE:
            raise InputError(
                f"format={format}: the written graph differs from the model by {error:.1e} of its "
                "largest value; nothing was kept"
            )
        os.replace(written, path)
    return Written(error, rows)


def graph_of(model: OpenedModel) -> DenoiserGraph:
    """The graph of a model; InputError for one whose conditions are no plain numbers."""
    denoiser = model.denoiser
    check_means(denoiser)
    if model.spec is None or not isinstance(denoiser, CountedDenoiser):
        raise InputError(
            f"checkpoint={model.name}: only one network of pixels can be written as a graph; a "
            "pipeline of latents is run by its folder, and a callable has no file"
        )
    names = [LABEL] if model.spec.classes else []
    return DenoiserGraph(denoiser, [*names, *model.spec.conditions]).eval()


def example(model: OpenedModel, names: Sequence[str], rows: int) -> list[Tensor]:
    """x, sigma and conditions of ``rows`` rows, the first of which has none."""
    draws = torch.Generator().manual_seed(rows)
    spec, d = model.spec, model.denoiser
    assert spec is not None
    low, high = max(d.sigma_min, 0.1), min(d.sigma_max, 20.0)
    sigma = torch.logspace(0, 1, rows).log10() * (high - low) + low
    x = torch.randn(rows, *d.shape, generator=draws) * (1 + sigma).reshape(-1, *[1] * len(d.shape))
    tensors = [x, sigma]
    for name in names:
        if name == LABEL:
            tensors.append(torch.arange(rows) % (spec.classes + 1) - 1)
            continue
        dtype = torch.int64 if name == TEXT else torch.uint8
        value = torch.ones(rows, *spec.conditions[name]["shape"], dtype=dtype)
        value[0] = 0
        tensors.append(value)
    return tensors


def _difference(model: OpenedModel, graph: DenoiserGraph, run: Run) -> float:
    """Largest |graph - model| over the largest |model|, for one row and for several."""
    worst = 0.0
    for rows in (1, ROWS[1]):
        x, sigma, *conditions = tensors = example(model, graph.names, rows)
        expected = graph(x, sigma, conditions)
        worst = max(worst, float((run(tensors) - expected).abs().max() / expected.abs().max()))
    return worst


def _program(model: OpenedModel, graph: DenoiserGraph, path: Path) -> tuple[Run, int | None]:
    try:
        program, most = _exported(model, graph, None), None
    except Exception as error:  # its network may do something else for many rows
        passed_on(error)
        program, most = _exported(model, graph, FEW), FEW
    torch.export.save(program, path)
    again = torch.export.load(path).module()
    return lambda inputs: again(*_nested(inputs)), most


def _exported(model: OpenedModel, graph: DenoiserGraph, most: int | None) -> Any:
    tensors, shapes = _traced(model, graph, most)
    return torch.export.export(graph, _nested(tensors), dynamic_shapes=shapes)


def _onnx(model: OpenedModel, graph: DenoiserGraph, path: Path) -> tuple[Run, int | None]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch writes by it
    except ImportError as error:
        raise InputError(f"format=onnx: {error.name} is not installed; {INSTALL}") from error
    tensors, shapes = _traced(model, graph)
    names = ["x", "sigma", *graph.names]
    torch.onnx.export(
        graph,
        _nested(tensors),
        path,
        input_names=names,
        output_names=[DENOISED],
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Tensor]) -> Tensor:
        values: dict[str, np.ndarray[Any, Any]] = {
            name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)
        }
        return torch.from_numpy(session.run([DENOISED], values)[0])

    return run, None


def _traced(
    model: OpenedModel, graph: DenoiserGraph, most: int | None = None
) -> tuple[list[Tensor], Any]:
    """The example that a graph is traced with, and which of its sides are free: the rows."""
    tensors = example(model, graph.names, ROWS[0])
    rows = {0: torch.export.Dim("n", min=1, max=most)}
    return tensors, (rows, rows, [rows] * len(graph.names))


def _nested(tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    return (tensors[0], tensors[1], list(tensors[2:]))


@contextmanager
def quiet() -> Iterator[None]:
    """What the exporters say of their own inner works is not said."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
