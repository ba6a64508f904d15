"""A smaller number of images stands for all of them, and its floor is of the same classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sde_diffusion.data.splits import fixed_order
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors import PixelExtractor
from sde_diffusion.metrics.judge import Judge, of_classes
from sde_diffusion.metrics.prdc import PRDC
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import reference_for
from sde_diffusion.tasks.evaluate import judged

CLASSES, D = 10, 4
EXTRACTOR = PixelExtractor(4, 1, 8, 8)


def images(each: int, seed: int) -> ImageSet:
    """Images sorted by class, a class a grey level with some noise."""
    rng = np.random.default_rng(seed)
    labels = torch.arange(CLASSES).repeat_interleave(each)
    noise = rng.integers(-9, 10, (len(labels), 1, 8, 8))
    pixels = 20 * labels.numpy()[:, None, None, None] + 30 + noise
    return ImageSet(torch.from_numpy(pixels.astype(np.uint8)), labels, CLASSES, "sorted")


REFERENCE = ReferenceSet.of(EXTRACTOR, images(200, 0), images(200, 1))
JUDGE = Judge(REFERENCE.reference, REFERENCE.features)


def test_a_smaller_number_stands_for_sorted_files() -> None:
    """Of 1,000 images sorted by class the first 200 are two classes: the twin."""
    features = EXTRACTOR(images(100, 2).images)
    by_class = judged(JUDGE, features, REFERENCE, [200, 1000])[0]
    mixed = judged(JUDGE, features[fixed_order(1000)], REFERENCE, [200, 1000])[0]
    assert by_class[0]["fd"] == pytest.approx(mixed[0]["fd"], abs=0.02)
    assert by_class[1]["fd"] == pytest.approx(mixed[1]["fd"], rel=1e-9)
    prefix = JUDGE.rows(features, [200])[0]
    assert prefix["fd"] > 10 * by_class[0]["fd"]


def test_precision_and_recall_of_many_are_of_all_classes() -> None:
    features, real = EXTRACTOR(images(100, 2).images), REFERENCE.features.double()
    few = PRDC(k=5, most=200)(features, real)
    assert few["coverage"] > 0.7
    assert PRDC(k=5, most=200)(features[:200], real)["coverage"] < 0.4  # the old prefix


def test_the_floor_of_set_classes_is_of_set_classes() -> None:
    """Samples of equal classes meet real images of equal classes; a random draw is farther."""
    labels = torch.arange(100) % CLASSES
    pool = images(50, 3)
    chosen = of_classes(labels, pool.labels)
    assert chosen is not None
    samples = EXTRACTOR(pool.images[chosen])
    like = JUDGE.floors(REFERENCE.held_out, [100], REFERENCE.held_out_labels, labels, True)[100]
    drawn = JUDGE.floors(REFERENCE.held_out, [100])[100]
    own = JUDGE.rows(samples, [100], labels)[0]
    assert 1 / 4 < own["fd"] / like["fd"] < 4  # the same law: they differ by chance alone
    assert drawn["fd"] > 20 * own["fd"]  # the old floor: perfect samples fell below it


def test_as_many_of_each_class_in_the_order_in_which_they_stand() -> None:
    labels = torch.tensor([1, 0, 1, 2, 0, 1])
    assert of_classes(torch.tensor([0, 1, 1]), labels).tolist() == [0, 1, 2]
    assert of_classes(torch.tensor([2, 2]), labels) is None
    unknown = torch.tensor([77] * 100)  # classes that the reference does not have: as they come
    rows = JUDGE.floors(REFERENCE.held_out, [100], REFERENCE.held_out_labels, unknown)
    assert rows == JUDGE.floors(REFERENCE.held_out, [100])


def test_held_out_labels_are_kept_in_the_file(tmp_path: Path) -> None:
    assert REFERENCE.held_out_labels.bincount().tolist() == [200] * CLASSES
    REFERENCE.save(tmp_path / "r.safetensors")
    again = ReferenceSet.load(tmp_path / "r.safetensors", EXTRACTOR)
    assert torch.equal(again.held_out_labels, REFERENCE.held_out_labels)
    x = EXTRACTOR(images(200, 1).images)[fixed_order(2000)].half()
    assert torch.equal(again.held_out, x)


def statistics(path: Path, **changed: object) -> str:
    held = {"mu": REFERENCE.stats.mean.numpy(), "sigma": REFERENCE.stats.cov.numpy(), **changed}
    np.savez(path, **held)
    return str(path)


def test_published_statistics_are_a_reference(tmp_path: Path) -> None:
    reference = reference_for(EXTRACTOR, statistics(tmp_path / "fid.npz"))
    judge = Judge(reference.reference, reference.features)
    features = EXTRACTOR(images(30, 4).images)
    row = judge.rows(features, [300])[0]
    assert row["fd"] == pytest.approx(JUDGE.rows(features, [300])[0]["fd"], rel=1e-9)
    assert row["fd_low"] is None
    assert "does not say of how many images" in row["note"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mu": np.zeros(7), "sigma": np.eye(7)}, "of 7 features, and extractor=pixel4 has 4"),
        ({"sigma": -np.eye(D)}, "sigma is no covariance"),
        ({"sigma": np.arange(16.0).reshape(D, D)}, "sigma is no covariance"),
        ({"sigma": np.full((D, D), np.nan)}, "not finite"),
        ({"mu": np.zeros((D, 1))}, r"give floats \[d\] and \[d, d\]"),
        ({"mu": np.array(["a"] * D)}, "give floats"),
        ({"mu": np.full(D, 1e200)}, "above 3.4e38; give another copy"),
        ({"sigma": np.diag([1e300] * D)}, "above 3.4e38; give another copy"),
        ({"sigma": np.diag([1.0] * (D - 1) + [-0.1])}, "sigma is no covariance; give another"),
        ({"mu": np.array([None] * D)}, "mu is of type object, which is not read"),
    ],
)
def test_statistics_that_are_none_are_one_line(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=rf"reference=.*fid\.npz: .*{message}"):
        reference_for(EXTRACTOR, statistics(tmp_path / "fid.npz", **changed))


@pytest.mark.parametrize("kind", [">f8", "<f4", np.longdouble])
def test_statistics_of_any_float_are_read(tmp_path: Path, kind: str) -> None:
    held = {"mu": REFERENCE.stats.mean.numpy(), "sigma": REFERENCE.stats.cov.numpy()}
    changed = {name: value.astype(kind) for name, value in held.items()}
    known = reference_for(EXTRACTOR, statistics(tmp_path / "fid.npz", **changed)).stats
    torch.testing.assert_close(known.mean, REFERENCE.stats.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(known.M2, REFERENCE.stats.cov, rtol=1e-6, atol=1e-7)
