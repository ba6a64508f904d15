"""A written graph is the denoiser: for any number of rows, with and without a condition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.models.graph import graph_of, save_graph
from tests.refusals import refused
from tests.tiny_model import write_tiny

LABELS = [-1, 3, 9, 3, 0]


@pytest.fixture(scope="module", name="tiny")
def tiny_fixture(tmp_path_factory: pytest.TempPathFactory) -> sd.Model:
    path = tmp_path_factory.mktemp("graph") / "tiny.safetensors"
    write_tiny(path, classes=10)
    return sd.load(path)


def rows(model: sd.Model, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, sigma, labels, and what the model says of them."""
    generator = torch.Generator().manual_seed(n)
    sigma = torch.tensor([0.01, 0.3, 1.0, 20.0, 80.0])[:n]
    x = torch.randn(n, 1, 8, 8, generator=generator) * (1 + sigma).reshape(-1, 1, 1, 1)
    labels = torch.tensor(LABELS[:n])
    cond = sd.Condition.label(labels)
    return x, sigma, labels, model.denoiser(x, sigma, cond)


def test_an_exported_program_is_the_denoiser(tiny: sd.Model, tmp_path: Path) -> None:
    """It is opened by torch alone, and asked at rows that it was not traced with."""
    path = tmp_path / "tiny.pt2"
    assert save_graph(tiny, path, "torch_export").difference < 1e-6
    program = torch.export.load(path).module()
    for n in (1, 5):
        x, sigma, labels, expected = rows(tiny, n)
        assert torch.allclose(program(x, sigma, [labels]), expected, atol=1e-5)


def test_a_graph_of_onnx_is_the_denoiser(tiny: sd.Model, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs [export]")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs [export]")
    path = tmp_path / "tiny.onnx"
    assert save_graph(tiny, path, "onnx").difference < 1e-5
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["x", "sigma", "label"]
    for n in (1, 5):
        x, sigma, labels, expected = rows(tiny, n)
        given = {"x": x.numpy(), "sigma": sigma.numpy(), "label": labels.numpy()}
        (answer,) = session.run(["denoised"], given)
        assert torch.allclose(torch.from_numpy(answer), expected, atol=1e-4)


@pytest.mark.slow
def test_a_network_of_diffusers_takes_as_many_rows_as_it_says(tmp_path: Path) -> None:
    """It does something else from 64 rows on: the program refuses these, of itself."""
    pytest.importorskip("diffusers", reason="diffusers is not installed; see [pretrained]")
    from tests.models.test_diffusers import unet, written

    model = sd.load(written(tmp_path / "theirs", unet(num_class_embeds=5)))
    found = save_graph(model, tmp_path / "theirs.pt2", "torch_export")
    assert found.difference < 1e-6
    assert found.rows == 63
    program = torch.export.load(tmp_path / "theirs.pt2").module()
    x, sigma = torch.zeros(64, 1, 8, 8), torch.ones(64)
    assert program(x[:63], sigma[:63], [torch.zeros(63, dtype=torch.int64)]).shape[0] == 63
    with pytest.raises((RuntimeError, AssertionError)):
        program(x, sigma, [torch.zeros(64, dtype=torch.int64)])


def test_numbers_of_levels_are_those_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a graph computes in place of the interpolation, between levels and beyond the ends."""
    p, table = sd.DiscreteTime(), Timesteps()
    sigma = torch.cat([torch.logspace(-3, 3, 200), table.sigmas[::97].float()])
    expected = p.c_noise(sigma)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.allclose(p.c_noise(sigma), expected, atol=1e-4)


def test_what_is_written_is_what_was_asked_for(tiny: sd.Model, tmp_path: Path) -> None:
    with refused("output=", "ends in .pt2"):
        save_graph(tiny, tmp_path / "tiny.pt", "torch_export")
    (tmp_path / "there.pt2").write_bytes(b"mine")
    with refused("output=", "another name"):
        save_graph(tiny, tmp_path / "there.pt2", "torch_export")
    with refused("checkpoint=", "one network of pixels"):
        graph_of(sd.wrap(lambda x, sigma: x, (1, 8, 8)))
    assert [path.name for path in tmp_path.iterdir()] == ["there.pt2"]


def test_a_graph_that_differs_is_not_kept(
    tiny: sd.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sde_diffusion.models import graph

    monkeypatch.setattr(graph, "_program", lambda *_: (lambda given: given[0] + 1, None))
    with refused("format=torch_export", "differs from the model"):
        save_graph(tiny, tmp_path / "tiny.pt2", "torch_export")
    assert list(tmp_path.iterdir()) == []
