"""A quick share of the random sets of ``loaders``, and that its judge can find fault."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from sde_diffusion.images.image_set import ImageSet
from tests.robustness import loaders
from tests.robustness.loaders import KINDS, judged, judged_line, outcome

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("first", [10_000, 10_060, 10_120])
def test_random_sets(first: int) -> None:
    """Images, or one line with a key and a remedy."""
    found = {seed: outcome(seed) for seed in range(first, first + 60)}
    assert not {seed: said for seed, (kind, said) in found.items() if kind == "fault"}
    assert {"images", "refused"} == {kind for kind, _ in found.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_that_of_its_seed(kind: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        KINDS[kind](tmp_path / name / kind, random.Random(7))
    written = [
        {str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*")}
        for name in ("a", "b")
    ]
    assert written[0] == written[1]


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
    kinds = {outcome(seed)[0] for seed in range(8)}
    assert "fault" in kinds
    assert "images" not in kinds
