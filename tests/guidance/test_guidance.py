"""Guidance wrappers: their formulas, their cost, and that they compose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import ClassifierFree, Clip


class Labelled(CountedDenoiser):
    """D = x / (1 + sigma^2) + 1 + label where a label is kept; remembers its batch sizes."""

    def __init__(self) -> None:
        super().__init__((2,), 0.01, 10.0)
        self.batches: list[int] = []

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        self.batches.append(len(x))
        base = x / (1 + sigma**2)
        return (
            base
            if cond is None
            else base + (cond.parts["label"].keep * (1 + cond.parts["label"].value))[:, None]
        )


X = torch.tensor([[0.5, -0.5], [1.0, 2.0], [0.0, 3.0]])
COND = Condition.label([0, 4, -1])
SIGMAS = [torch.tensor(0.5), torch.tensor([0.5, 1.0, 2.0])]


@pytest.mark.parametrize("sigma", SIGMAS, ids=["one level", "a level a row"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_classifier_free_is_its_formula(scale: float, sigma: Tensor) -> None:
    inner = Labelled()
    given, empty = inner(X, sigma, COND), inner(X, sigma, None)
    guided = ClassifierFree(inner, scale)(X, sigma, COND)
    assert torch.allclose(guided, empty + scale * (given - empty), atol=1e-6)


def test_a_pair_is_one_batch_and_two_evaluations_a_row() -> None:
    inner = Labelled()
    guided = ClassifierFree(inner, 2.0)
    guided(X, torch.tensor(0.5), COND)
    assert inner.batches == [6]
    assert guided.evaluations == 6
    assert guided.cost == 2


def test_rows_without_a_label_are_not_guided() -> None:
    guided = ClassifierFree(Labelled(), 7.0)(X, torch.tensor(0.5), COND)
    assert torch.allclose(guided[2], X[2] / 1.25)


def test_classifier_free_needs_a_condition() -> None:
    with pytest.raises(InputError, match=r"guidance=cfg: needs a condition; set label="):
        ClassifierFree(Labelled())(X, torch.tensor(0.5))


def test_clip_clips_and_costs_nothing() -> None:
    clip = Clip(Labelled(), -1.0, 1.0)
    out = clip(4 * X, torch.tensor(0.5))
    assert torch.equal(out, (4 * X / 1.25).clamp(-1, 1))
    assert (clip.cost, clip.evaluations) == (1, 3)


def test_wrappers_compose_in_order_and_keep_what_the_model_says() -> None:
    inner = Labelled()
    sigma = torch.tensor(0.5)
    outer = Clip(ClassifierFree(inner, 3.0))
    assert (outer.shape, outer.sigma_min, outer.sigma_max) == ((2,), 0.01, 10.0)
    assert outer.cost == 2
    assert float(outer(X, sigma, COND).abs().max()) <= 1
    assert float(ClassifierFree(Clip(inner), 3.0)(X, sigma, COND).abs().max()) > 1
