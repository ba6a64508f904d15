"""Guidance: formulas, their cost, and that they compose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion import networks
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser, Denoiser
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import Auto, ClassifierFree, Clip, Guidance, Guided, guided


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
    answer = ClassifierFree(scale)(inner, X, sigma, COND)
    assert torch.allclose(answer, empty + scale * (given - empty), atol=1e-6)


def test_a_pair_is_one_batch_and_two_evaluations_a_row() -> None:
    inner = Labelled()
    pair = Guided(inner, ClassifierFree(2.0))
    pair(X, torch.tensor(0.5), COND)
    assert inner.batches == [6]
    assert pair.evaluations == 6
    assert pair.cost == 2


def test_rows_without_a_label_are_not_guided() -> None:
    answer = ClassifierFree(7.0)(Labelled(), X, torch.tensor(0.5), COND)
    assert torch.allclose(answer[2], X[2] / 1.25)


def test_classifier_free_needs_a_condition() -> None:
    with pytest.raises(InputError, match=r"guidance=cfg: needs a condition; set label="):
        ClassifierFree()(Labelled(), X, torch.tensor(0.5), None)


def test_clip_clips_and_costs_nothing() -> None:
    clip = Guided(Labelled(), Clip(-1.0, 1.0))
    out = clip(4 * X, torch.tensor(0.5))
    assert torch.equal(out, (4 * X / 1.25).clamp(-1, 1))
    assert (clip.cost, clip.evaluations) == (1, 3)


def test_wrappers_compose_in_order_and_keep_what_the_model_says() -> None:
    inner = Labelled()
    sigma = torch.tensor(0.5)
    outer = guided(inner, [ClassifierFree(3.0), Clip()])
    assert (outer.shape, outer.sigma_min, outer.sigma_max) == ((2,), 0.01, 10.0)
    assert outer.cost == 2
    assert float(outer(X, sigma, COND).abs().max()) <= 1
    assert float(guided(inner, [Clip(), ClassifierFree(3.0)])(X, sigma, COND).abs().max()) > 1


def test_none_leaves_the_denoiser_as_it_is() -> None:
    inner = Labelled()
    assert guided(inner, []) is inner


class Known(Labelled):
    """Of a known identity."""

    @property
    def identity(self) -> str:
        return "network"


def test_guidance_without_a_label_is_known_by_its_fields() -> None:
    class Halved(Guidance):
        def __init__(self, share: float = 0.5) -> None:
            self.share = share

        def __call__(
            self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None
        ) -> Tensor:
            return self.share * inner(x, sigma, cond)

    one, two = (Guided(Known(), Halved(share)).identity for share in (0.5, 0.25))
    assert one.startswith("network ")
    assert one != two
    assert Guided(Labelled(), Halved()).identity == ""


class Ends(Labelled):
    """As a consistency model answers."""

    @property
    def ends(self) -> str:
        return "consistency"


def test_a_worse_model_that_is_no_denoiser_is_refused() -> None:
    """Its answers were taken for means, and led away from."""
    with pytest.raises(InputError, match=r"distilled model, .* give a denoiser"):
        Auto(2.0, "worse").opened(lambda name: Ends())


def test_a_worse_model_is_asked_whether_it_knows_the_label() -> None:
    """A network of fewer classes ended in a traceback of its embedding."""
    network = networks.build("unet", {"channels": 1, "widths": [8], "attention": [], "classes": 3})
    worse = NetworkDenoiser(network, PARAMETERIZATIONS["karras"](), (1, 8, 8))
    both = Guided(worse, Auto(2.0, "worse").opened(lambda name: worse))
    both.check_condition(Condition.label([0, 2, -1]))
    with pytest.raises(InputError, match=r"label=4: its network knows 0 \.\. 2"):
        both.check_condition(Condition.label([0, 4, -1]))
