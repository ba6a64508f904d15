"""Scans: a function of (seed, split, number), and their lesions are where the list says."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.data import Scans
from sde_diffusion.data.scans import CONTRAST, RADII
from sde_diffusion.errors import InputError

SCANS = Scans(300)


def test_any_part_is_drawn_by_itself() -> None:
    whole = SCANS.phantoms(0, 300)
    part = SCANS.phantoms(250, 20)  # across the end of a block
    assert torch.equal(whole.images[250:270], part.images)
    assert torch.equal(whole.lesions[250:270].nan_to_num(-1), part.lesions.nan_to_num(-1))
    assert torch.equal(SCANS.load().images, whole.images)
    assert len({bytes(image.numpy().data) for image in whole.images}) == 300


def test_splits_and_seeds_share_no_draw() -> None:
    first = SCANS.phantoms(0, 4).images
    for other in (Scans(split="test"), Scans(seed=1)):
        images = other.phantoms(0, 4).images
        assert bool((first != images).flatten(1).any(1).all())


def test_lesions_are_bright_discs_where_the_list_says() -> None:
    """The centre is brighter than a ring just outside by the contrast, on average over many."""
    found = SCANS.phantoms(0, 300)
    grid = torch.arange(64.0)
    differences, seen = [], set()
    for image, listed in zip(found.images[:, 0].float() / 255, found.lesions, strict=True):
        for row, column, radius, contrast in listed[~listed[:, 0].isnan()].tolist():
            assert contrast == pytest.approx(CONTRAST)
            seen.add(radius)
            distance = ((grid[:, None] - row).square() + (grid - column).square()).sqrt()
            ring = (distance > radius + 0.8) & (distance < radius + 1.8)
            differences.append(image[distance < radius - 0.8].mean() - image[ring].median())
    assert seen == set(RADII)
    spread = torch.stack(differences)
    assert len(spread) > 300
    # Edges of organs cross some rings: the median is the contrast, in steps of 1/255.
    assert float(spread.median()) == pytest.approx(CONTRAST, abs=0.01)


def test_the_number_of_lesions_is_uniform_from_none_to_three() -> None:
    counts = (~SCANS.phantoms(0, 300).lesions[..., 0].isnan()).sum(1).bincount(minlength=4)
    # 300 draws of four classes: 75 +- 7.5 each; five standard deviations.
    assert bool(((counts - 75).abs() < 38).all())


def test_grey_stays_within_black_and_white() -> None:
    images = SCANS.phantoms(0, 300).images
    assert images[:, 0, 0].max() == 0  # air above the head
    assert 225 < int(images.max()) < 255


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "val"}, r"data\.split=val: choose train or test"),
        ({"n": 0}, r"data\.n=0, seed=0: give n from 1"),
        ({"seed": -1}, r"seed=-1: give n from 1"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scans(**fields)  # type: ignore[arg-type]
