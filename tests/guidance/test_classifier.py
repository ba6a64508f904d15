"""Classifier guidance: exact with an exact classifier, and trained by a command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import compose_task
from sde_diffusion.denoisers.closed_form import MixtureDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import ClassifierFree, ClassifierGradient, guided
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.networks.classifier import read_classifier
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.tasks import classifier, sample

F64 = torch.float64
X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
COND = Condition.label([0, 1, 1, -1])  # the last row has none


def mixture() -> MixtureDenoiser:
    """Three components in two classes, of unlike widths."""
    means = torch.tensor([[0.0, 0.0], [2.0, 0.5], [-1.0, 1.5]], dtype=F64)
    variances = torch.tensor([[0.5, 0.2], [0.1, 0.4], [0.3, 0.3]], dtype=F64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=F64)
    return MixtureDenoiser(weights, means, variances, labels=torch.tensor([0, 1, 1]))


class Exact(nn.Module):
    """log p(c | x, sigma) of the mixture, written out once more."""

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        law = mixture()
        total = law.variances + sigma[:, None, None] ** 2
        z = x[:, None] - law.means
        joint = law.weights.log() - 0.5 * (z.square() / total + total.log()).sum(-1)
        classes = [joint[:, law.labels == c].logsumexp(1) for c in range(2)]
        return torch.stack(classes, 1)


def guide(scale: float, conditional: bool = False) -> ClassifierGradient:
    made = ClassifierGradient(scale, "exact", conditional)
    made.classifier = Exact()
    return made


@pytest.mark.parametrize(
    "sigma", [torch.tensor(0.4, dtype=F64), torch.tensor([0.2, 0.5, 1.0, 3.0])]
)
def test_with_an_exact_classifier_it_is_classifier_free_guidance(sigma: Tensor) -> None:
    """D_c - D = sigma^2 grad log p(c | x): of the same scale, or of one more under the label."""
    sigma = sigma.to(F64)
    for scale in (0.7, 3.0):
        wanted = ClassifierFree(scale)(mixture(), X, sigma, COND)
        assert torch.allclose(guide(scale)(mixture(), X, sigma, COND), wanted, atol=1e-9)
        wanted = ClassifierFree(1 + scale)(mixture(), X, sigma, COND)
        found = guide(scale, conditional=True)(mixture(), X, sigma, COND)
        assert torch.allclose(found, wanted, atol=1e-9)


def test_a_model_without_labels_draws_what_the_conditional_one_does() -> None:
    """By the classifier alone, sample by sample, since their flows are the same."""
    plain = OpenedModel(mixture(), "plain")
    exact = guide(1.0)
    exact.classes = 2
    asked = guided(plain.denoiser, [exact])
    cond = plain.condition({"label": 1}, range(50), asked.classes_of_guidance)
    assert plain.condition({"label": None}, range(50)) is None
    by_classifier, by_label = (
        Sampler.build(EDM(), denoiser, DDIM(), Karras()).sample(
            Request(range(50), 12, cond), Execution(dtype=F64)
        )
        for denoiser in (asked, mixture())
    )
    assert torch.allclose(by_classifier.x, by_label.x, atol=1e-8)
    assert (by_classifier.nfe, by_classifier.backward_passes) == (12, 12)


def test_backward_passes_are_counted_apart() -> None:
    asked = guided(mixture(), [guide(2.0)])
    asked(X, torch.tensor(0.4, dtype=F64), COND)
    assert (asked.cost, asked.evaluations, asked.backward_passes) == (1, 4, 4)


WORDS = ["data=digits", "width=8", "batch_size=64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("safetensors")
    made = tmp_path_factory.mktemp("classifier")
    config = compose_task(["task=classifier", *WORDS, "steps=250", "lr=5e-3", "name=mine"])
    classifier.run(config, made)
    return made


def test_it_is_trained_by_a_command_and_kept(folder: Path) -> None:
    """Digits are told apart under little noise, and not under much."""
    found = json.loads((folder / "result.json").read_text())["accuracy"]
    assert found["0.1"] > 0.75
    assert found["0.1"] > found["5"] > 0.08
    before = (folder / "mine.safetensors").read_bytes()
    classifier.run(compose_task(["task=classifier", *WORDS, "steps=250", "name=mine"]), folder)
    assert (folder / "mine.safetensors").read_bytes() == before


def test_the_gradient_raises_what_the_classifier_thinks(folder: Path) -> None:
    """By finite differences in float64; and a moved image is more like its class."""
    network, _ = read_classifier(str(folder / "mine.safetensors"), "name")
    network = network.double()
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=F64)
    level, labels = torch.full((3,), 0.8, dtype=F64), torch.tensor([3, 1, 7])

    def logp(x: Tensor) -> Tensor:
        return network(x, level).log_softmax(1)[torch.arange(3), labels]

    at = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(logp(at).sum(), at)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=F64)
    slope = (logp(x + 1e-5 * way) - logp(x - 1e-5 * way)) / 2e-5
    assert torch.allclose(slope, (gradient * way).flatten(1).sum(1), atol=1e-6)


def drawn(tiny_model: str, folder: Path, *words: str) -> dict[str, Any]:
    sample.run(
        compose_task([
            "task=sample", f"checkpoint={tiny_model}", "guidance=classifier", "n=3", "nfe=3",
            "solver=ddim", "label=3", *words,
        ]),
        folder,
    )  # fmt: skip
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_it_guides_a_sample(tiny_model: str, folder: Path, tmp_path: Path) -> None:
    """Backward passes are no evaluations."""
    found = drawn(tiny_model, tmp_path, f"guidance.classifier.model={folder / 'mine.safetensors'}")
    assert math.isclose(found["nfe"], 3)
    assert math.isclose(found["backward_passes"], 3)


def test_what_is_wrong_is_one_line(tiny_model: str, folder: Path, tmp_path: Path) -> None:
    path = f"guidance.classifier.model={folder / 'mine.safetensors'}"
    for words, says in {
        (): r"^guidance\.classifier\.model: give a file",
        ("guidance.classifier.model=gone",): r"model=gone: no such file; give a file of",
        (f"guidance.classifier.model={tiny_model}",): r"guidance\.classifier\.model=.*give a file",
        (path, "label=null"): "guidance=classifier: needs a label",
    }.items():
        with pytest.raises(InputError, match=says):
            drawn(tiny_model, tmp_path, *words)
    with pytest.raises(InputError, match="is opened by sample"):
        ClassifierGradient(1.0, "x")(mixture(), X, torch.tensor(0.4, dtype=F64), COND)
    with pytest.raises(InputError, match=r"data=.*no classes to learn"):
        classifier.run(
            compose_task(["task=classifier", "data=shapes", "data.n=4", "data.held_out=4"]),
            tmp_path / "other",
        )
