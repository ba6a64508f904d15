"""Classifier guidance: the gradient of a classifier of noisy images (arXiv:2105.05233)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, final

import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.pair import columns
from sde_diffusion.networks.classifier import read_classifier
from sde_diffusion.system.ranges import Within


@final
class ClassifierGradient(Guidance, known_as="guidance.classifier"):
    """D(x) + scale sigma^2 grad log p(c | x, sigma): one evaluation, and one backward pass of the
    classifier, which are counted apart.

    D, of a model of labels or of none, is asked without the label, or, if ``conditional``, with it.
    Where both are exact it is classifier-free guidance of that scale (or of 1 + scale), and aims at
    p(x) p(c | x)^scale. Rows without a label are not guided.

    Dhariwal & Nichol, arXiv:2105.05233.

    Args:
        scale: of the gradient. model: a file of ``sde-diffusion classifier``.
        conditional: whether D is asked under the label too.
    """

    invertible = False

    def __init__(
        self,
        scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.0,
        model: str = "",
        conditional: bool = False,
    ) -> None:
        self.scale, self.model, self.conditional = scale, model, conditional
        self.classifier: nn.Module | None = None
        self.shape: tuple[int, ...] = ()
        self.classes = self._backward_passes = 0

    @property
    def backward_passes(self) -> int:
        return self._backward_passes

    def opened(self, opener: Callable[[str], Denoiser]) -> ClassifierGradient:
        if not self.model:
            raise InputError("guidance.classifier.model: give a file of 'sde-diffusion classifier'")
        self.classifier, facts = read_classifier(self.model, "guidance.classifier.model")
        self.shape, self.classes = tuple(facts["shape"]), int(facts["classes"])
        return self

    def check_condition(self, cond: Condition | None) -> None:
        if cond is None or LABEL not in cond:
            raise InputError("guidance=classifier: needs a label; set label=7, say, or guidance=[]")
        most = int(cond.parts[LABEL].value.max())
        if self.classes and most >= self.classes:
            raise InputError(
                f"label={most}: guidance.classifier.model={self.model} knows {self.classes} "
                "classes; give a classifier of the model's data"
            )

    def passed_on(self, cond: Condition | None) -> Condition | None:
        """Without the label unless ``conditional``: so a model that knows none is guided too."""
        if cond is None or self.conditional:
            return cond
        parts = {name: part for name, part in cond.parts.items() if name != LABEL}
        return Condition(parts, cond.other) if parts else None

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        self.check_condition(cond)
        assert cond is not None
        if self.classifier is None:
            raise InputError(
                "guidance.classifier.model: is opened by sample and Model.sample alone; choose "
                "another guidance here"
            )
        if self.shape and tuple(x.shape[1:]) != self.shape:
            raise InputError(
                f"guidance.classifier.model={self.model}: of images {self.shape}, not "
                f"{tuple(x.shape[1:])}; give a classifier of the model's data"
            )
        answer = inner(x, sigma, self.passed_on(cond))
        level = sigma.to(x).expand(len(x))
        label = cond.parts[LABEL]
        with torch.enable_grad():
            noisy = x.detach().requires_grad_()
            logits = self.classifier.to(x.device)(noisy, level)
            chosen = logits.log_softmax(1).gather(1, label.value[:, None])[:, 0]
            (gradient,) = torch.autograd.grad((chosen * label.keep).sum(), noisy)
        self._backward_passes += len(x)
        return answer + self.scale * columns(level.square(), x) * gradient
