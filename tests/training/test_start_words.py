"""A run that starts from a model reads captions as the model does, or is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.system.storage import asset
from sde_diffusion.training.compatible import start_from, text_of
from sde_diffusion.training.given import with_text


def captioned(*captions: str) -> ImageSet:
    images = torch.zeros(len(captions), 3, 4, 4, dtype=torch.uint8)
    return replace(ImageSet(images, None, 0, "drawn"), captions=list(captions))


def test_short_captions_are_read_with_the_words_and_places_of_the_model() -> None:
    """Of 2,000 shapes the longest caption may be shorter than of those that the model saw."""
    known = text_of("shapes")
    assert known is not None
    data, held_out = with_text(captioned("a red circle"), captioned("a green cross"), known)
    assert data.legend["text"]["words"] == known["words"]
    assert data.given["text"].shape == held_out.given["text"].shape == (1, known["length"])
    alone, _ = with_text(captioned("a red circle"), captioned("a green cross"))
    assert alone.given["text"].shape == (1, 3)


def test_a_vocabulary_of_the_same_size_and_other_words_is_refused() -> None:
    """Its weights fit in shape: the words would be taken for others."""
    spec, _ = read_checkpoint(asset("shapes"), prefix="model.")
    text = spec.conditions["text"]
    words = [*text["words"][:-1], "zebra"]
    other = replace(spec, conditions={**spec.conditions, "text": {**text, "words": words}})
    with pytest.raises(InputError, match=r"init=shapes: reads other words .*\(zebra, say\)"):
        start_from("shapes", other, spec.build().network)
    start_from("shapes", spec, spec.build().network)


def test_what_reads_no_words_has_none() -> None:
    assert text_of(None) is text_of("mnist") is text_of("no-such-file") is None
