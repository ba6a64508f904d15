"""A quick share of the random sets of ``loaders``, and that its judge can find fault."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import find, given
from PIL import Image

from sde_diffusion.images.image_set import ImageSet
from tests.robustness import loaders
from tests.robustness.draws import Seeded, cases, quick
from tests.robustness.loaders import KINDS, Case, drawn, judged, judged_line, outcome

pytestmark = pytest.mark.filterwarnings("ignore")


def test_random_sets() -> None:
    """Images, or one line with a key and a remedy."""
    kinds = set()

    @quick(120)
    @given(cases(drawn))
    def hold(case: Case) -> None:
        kind, said = outcome(case)
        kinds.add(kind)
        assert kind != "fault", said

    hold()
    assert kinds == {"images", "refused"}


def test_a_set_that_fails_is_made_small() -> None:
    """Of two GIFs or more in a folder: two, of a pixel, and nothing else."""

    def fails(case: Case) -> bool:
        return case.name == "set" and sum(each[:4] == b"GIF8" for each in case.files.values()) > 1

    found = find(cases(drawn), fails, settings=quick(1000))
    assert (len(found.files), found.links, found.options) == (2, {}, None)
    for content in found.files.values():
        assert Image.open(io.BytesIO(content)).size == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_that_of_its_seed(kind: str) -> None:
    assert KINDS[kind](Seeded(7)) == KINDS[kind](Seeded(7))
    assert KINDS[kind](Seeded(7)) != KINDS[kind](Seeded(8))


def test_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    labels = torch.tensor([0, 2])
    assert judged(ImageSet(images, labels, 3, "a"))[0] == "images"
    for wrong in (
        ImageSet(images, labels, 2, "a"), ImageSet(images[:0], None, 0, "a"),
        ImageSet(images.float(), None, 0, "a"), ImageSet(images[0], None, 0, "a"),
        ImageSet(images, labels[:1], 3, "a"),
    ):  # fmt: skip
        assert judged(wrong)[0] == "fault"
    keys = ("images", "data.")
    assert judged_line("images=a: torn; give another", keys, "")[0] == "refused"
    for line in ("torn; give another", "images=a: torn", "images=a: torn\n; give another"):
        assert judged_line(line, keys, "")[0] == "fault"

    def failing(*_: object) -> None:
        raise KeyError("a")

    monkeypatch.setattr(loaders, "load_images", failing)
    monkeypatch.setattr(loaders, "image_folder", failing)
    kinds = {outcome(drawn(Seeded(seed)))[0] for seed in range(8)}
    assert "fault" in kinds
    assert "images" not in kinds
