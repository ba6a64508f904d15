"""What the pages about prompts draw with: a model opened once, conditions, two solvers."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from sde_diffusion import EDM, ClassifierFree, DPMpp2MSDE, Karras, UniPC, load
from sde_diffusion.conditions.condition import Condition, Part
from sde_diffusion.guidance import guided
from sde_diffusion.sampling.sampler import Request, Sampler

SOLVERS = {"unipc": (UniPC(), 40), "dpmpp_2m_sde": (DPMpp2MSDE(), 80)}  # and evaluations


@cache
def model(checkpoint: str) -> Any:
    """The model, opened once."""
    return load(checkpoint, precision="bfloat16")


def drawn(checkpoint: str, cond: Condition, scale: float, solver: str = "unipc") -> Tensor:
    """uint8 [N, 3, H, W] under a condition, seeds 0, 1, ..."""
    opened = model(checkpoint)
    denoiser = guided(opened.denoiser, [ClassifierFree(scale)] if scale else [])
    way, nfe = SOLVERS[solver]
    sampler = Sampler.build(EDM(), denoiser, way, Karras())
    return sampler.sample(Request(range(len(cond)), nfe if scale else nfe // 2, cond)).images


def asked(checkpoint: str, texts: list[str], **sides: Tensor) -> Condition:
    """Sentences (none where they are empty) and what is given beside them."""
    opened = model(checkpoint)
    words = [text or "a shape" for text in texts]
    cond: Condition = opened.condition({"prompt": words}, range(len(texts)))
    cond = cond.dropped(torch.tensor([not text for text in texts]))
    for name, value in sides.items():
        cond = cond.with_part(name, Part.of(value))
    return cond
