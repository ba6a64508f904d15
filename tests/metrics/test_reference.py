"""Reference files: what they hold, whose they are, and what is refused; the shipped one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sde_diffusion.data import Digits
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors import CnnExtractor, PixelExtractor
from sde_diffusion.metrics.frechet import frechet_curve
from sde_diffusion.metrics.inference import debiased
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import as_drawn
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.system.storage import asset
from tests.refusals import refused
from tests.sealed_files import resealed, unsealed

EXTRACTOR = PixelExtractor(2, 1, 8, 8)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "digits-reference.safetensors"
    ReferenceSet.of(EXTRACTOR, Digits("train").load(), Digits("test").load()).save(path)
    return path


def test_a_file_holds_the_whole_reference(made: Path) -> None:
    before = ReferenceSet.of(EXTRACTOR, Digits("train").load(), Digits("test").load())
    after = ReferenceSet.load(made, EXTRACTOR)
    assert (after.name, after.stats.n) == ("digits-train", 1500)
    assert after.data_fingerprint == Digits("train").load().fingerprint
    assert after.extractor_fingerprint == EXTRACTOR.fingerprint
    assert torch.equal(after.stats.mean, before.stats.mean)
    assert torch.equal(after.stats.M2, before.stats.M2)
    assert torch.equal(after.held_out, before.held_out)
    assert torch.equal(after.features, before.features)
    assert after.held_out.dtype == after.features.dtype == torch.float16


def rows(features: torch.Tensor) -> list[tuple[float, ...]]:
    return sorted(map(tuple, features.tolist()))


def test_streamed_statistics_are_those_of_all_features_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = EXTRACTOR(Digits("train").load().images)
    monkeypatch.setattr(PixelExtractor, "batch_size", 64)
    known = ReferenceSet.of(EXTRACTOR, Digits("train").load())
    whole = FeatureStats.of(exact)
    torch.testing.assert_close(known.stats.mean, whole.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(known.stats.M2, whole.M2, rtol=0, atol=1e-12 * float(whole.M2.max()))
    assert rows(known.features) == rows(exact.half())
    assert (len(known.held_out), known.held_out_fingerprint) == (0, "")


def test_kept_features_are_a_fair_sample_in_any_prefix() -> None:
    data = Digits("train").load()
    assert data.labels is not None
    sorted_by_class = data[data.labels.argsort(stable=True)]
    known = ReferenceSet.of(EXTRACTOR, sorted_by_class, Digits("test").load(), keep=400)
    assert len(known.held_out) == 297
    assert len(ReferenceSet.of(EXTRACTOR, data, Digits("test").load(), keep=100).held_out) == 100
    exact = EXTRACTOR(sorted_by_class.images).half()
    assert known.features.shape == (400, 16)
    assert set(rows(known.features)) <= set(rows(exact))
    # A prefix of images in the order of their classes would be two digits alone.
    near = frechet_curve(known.features.double(), known.reference, [100, 400])
    of_prefix = frechet_curve(exact.double(), known.reference, [100, 400])
    assert all(a.value < 0.5 * b.value for a, b in zip(near, of_prefix, strict=True))


def test_features_that_overflow_half_precision_are_refused() -> None:
    class Large(PixelExtractor):
        def extract(self, images: torch.Tensor) -> torch.Tensor:
            return 1e6 * super().extract(images)

    with pytest.raises(
        InputError, match="extractor=pixel2: of digits-test: statistics that are not"
    ):
        ReferenceSet.of(Large(2, 1, 8, 8), Digits("test").load())
    with pytest.raises(InputError, match="1 images; give at least 2"):
        ReferenceSet.of(EXTRACTOR, Digits("test").load()[:1])
    with pytest.raises(InputError, match="keep=1"):
        ReferenceSet.of(EXTRACTOR, Digits("test").load(), keep=1)


def test_half_precision_moves_the_floor_by_little(made: Path) -> None:
    known = ReferenceSet.load(made, EXTRACTOR)
    exact = EXTRACTOR(Digits("test").load().images)
    half, full = (frechet_curve(x, known.reference, [297])[0] for x in (known.held_out, exact))
    assert half.value == pytest.approx(full.value, rel=1e-3)


def test_another_extractor_is_refused(made: Path) -> None:
    with pytest.raises(InputError, match="made with extractor pixel2"):
        ReferenceSet.load(made, PixelExtractor(4, 1, 8, 8))


@pytest.mark.parametrize(
    ("facts", "tensors"),
    [
        ({"n": 1}, {}),
        ({"n": None}, {}),
        ({"n": 1499}, {}),
        ({}, {"mean": torch.zeros(15, dtype=torch.float64)}),
        ({}, {"M2": torch.zeros(16, 16)}),
        ({}, {"held_out": torch.zeros(5, 16)}),
        ({}, {"features": torch.zeros(5, 15, dtype=torch.float16)}),
        ({}, {"M2": torch.full((16, 16), torch.nan, dtype=torch.float64)}),
        ({}, {"mean": torch.tensor(0.0, dtype=torch.float64)}),
        ({}, {"M2": -torch.eye(16, dtype=torch.float64)}),
        ({}, {"M2": torch.ones(16, 16, dtype=torch.float64).triu()}),
    ],
    ids=[
        "one image",
        "no n",
        "fewer",
        "mean",
        "single",
        "held out",
        "features",
        "nan",
        "scalar",
        "negated",
        "lopsided",
    ],
)
def test_files_with_other_content_are_refused(
    made: Path, facts: dict[str, object], tensors: dict[str, torch.Tensor]
) -> None:
    resealed(made, facts, tensors)
    with refused("reference=", "no reference", "'sde-diffusion reference'"):
        ReferenceSet.load(made, EXTRACTOR)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mean", lambda x: -x),
        ("mean", lambda x: x + 0.01),
        ("M2", lambda x: -x),
        ("M2", lambda x: 2 * x.diag().diag() - x - 0.5 * x.diag().diag()),
        ("M2", lambda x: x.tril()),
        ("M2", lambda x: x.fill_diagonal_(math.inf)),
        ("features", lambda x: -x),
    ],
)
def test_moments_that_are_not_of_the_features_are_refused(
    made: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """The seal is right: whoever wrote them meant to."""
    resealed(made, tensors={name: change(load_file(made)[name])})
    with refused("reference=", "no reference", "'sde-diffusion reference'"):
        ReferenceSet.load(made, EXTRACTOR)


def test_moments_are_of_features_of_which_some_are_kept(tmp_path: Path) -> None:
    """Also where the features are far from normal: one image alone has all of the variance."""
    images = torch.zeros(50, 1, 8, 8, dtype=torch.uint8)
    for k in range(50):
        images[k] = 255
        path = tmp_path / "one.safetensors"
        ReferenceSet.of(EXTRACTOR, ImageSet(images, None, 0, "one"), keep=10).save(path)
        known = ReferenceSet.load(path, EXTRACTOR)
        assert len(known.features) == 10
        images[k] = 0


def test_a_file_of_revision_7a19cb7_is_read(made: Path) -> None:
    """Its checksum was of names and bytes, in this order."""
    known, tensors = ReferenceSet.load(made, EXTRACTOR), load_file(made)
    digest = hashlib.sha256()
    for name in ("mean", "M2", "features", "held_out"):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    sealed = made.read_bytes()
    unsealed(made, "sde_diffusion_reference", {"format": 2, "checksum": digest.hexdigest()})
    first = ReferenceSet.load(made, EXTRACTOR)
    assert (first.shape, first.stats.n) == (known.shape, known.stats.n)
    assert torch.equal(first.stats.M2, known.stats.M2)
    for extra in ({"format": 1, "checksum": digest.hexdigest()}, {"format": 2, "checksum": "0"}):
        made.write_bytes(sealed)
        unsealed(made, "sde_diffusion_reference", extra)
        with pytest.raises(InputError, match=r"reference=.*(format 1|checksum)"):
            ReferenceSet.load(made, EXTRACTOR)


def test_files_that_are_torn_foreign_or_missing(made: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(made.read_bytes()[:-100])
    foreign = tmp_path / "foreign"
    save_file({"a": torch.zeros(1)}, foreign)
    flipped = bytearray(made.read_bytes())
    flipped[-5] ^= 1  # a bit of a held-out feature: shapes, types and values stay plausible
    (tmp_path / "flipped").write_bytes(flipped)
    for path in (torn, foreign, tmp_path / "flipped"):
        with pytest.raises(InputError, match="no reference of this version"):
            ReferenceSet.load(path, EXTRACTOR)
    with pytest.raises(InputError, match="no such file"):
        ReferenceSet.load(tmp_path / "missing", EXTRACTOR)


def test_the_shipped_reference_and_its_floor() -> None:
    known = ReferenceSet.load(asset("mnist-cnn-reference"), CnnExtractor())
    assert (known.name, known.stats.n, len(known.held_out)) == ("mnist-train", 60000, 10000)
    assert known.data_fingerprint == "d9125c8a0373660c"
    assert known.features.shape == (20000, 64)
    assert asset("mnist-cnn-reference").stat().st_size <= 4_000_000
    floor = [d.value for d in frechet_curve(known.held_out, known.reference, [500, 1000, 10000])]
    # Real against real: small, and falling with N by the bias of the plug-in value.
    assert floor[0] > floor[1] > floor[2] > 0
    assert floor[2] < 0.01 * float(known.stats.cov.trace())
    for of_reference in (None, known.features):
        unbiased = debiased(known.held_out[:1000], known.reference, of_reference).value
        assert unbiased is not None
        assert abs(unbiased - floor[2]) < abs(floor[1] - floor[2])


def test_the_shipped_reference_of_photographs() -> None:
    extractor = CnnExtractor("cifar-cnn")
    known = ReferenceSet.load(asset("cifar-cnn-reference"), extractor)
    assert (known.name, known.shape, known.stats.n) == ("cifar10-jpeg-train", (3, 32, 32), 50000)
    assert (known.features.shape, known.held_out.shape) == ((5000, 64), (5000, 64))
    assert asset("cifar-cnn").stat().st_size <= 1_000_000
    assert asset("cifar-cnn-reference").stat().st_size <= 1_500_000
    floor = [
        d.value for d in frechet_curve(known.held_out, known.reference, [500, 1000, 2000, 5000])
    ]
    assert floor[0] > floor[1] > floor[2] > floor[3] > 0
    # The features that are kept are of the reference: their own distance to it is all bias.
    own = debiased(known.features.double(), known.reference, known.features)
    assert own.value is not None
    assert abs(own.value) < 0.3 * floor[3]


GREY = ImageSet(torch.arange(192, dtype=torch.uint8).reshape(3, 1, 8, 8), None, 0, "grey")


def test_grey_images_judge_a_model_of_three_channels() -> None:
    colour = as_drawn(GREY, (3, 8, 8), PixelExtractor(2, 3, 8, 8), "reference=grey")
    assert colour.images.shape == (3, 3, 8, 8)
    assert torch.equal(colour.images[:, 2:], GREY.images)
    assert torch.equal(as_drawn(colour, (1, 8, 8), EXTRACTOR, "reference=grey").images, GREY.images)


def test_images_of_another_size_name_what_makes_a_reference_of_the_model_s() -> None:
    with refused("reference=grey: 8 x 8", "draws 4 x 4", "data.path=FOLDER data.size=4"):
        as_drawn(GREY, (1, 4, 4), PixelExtractor(2, 1, 4, 4), "reference=grey")
