"""Extractors: shapes, batches, fingerprints, refused files, and a classifier that learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from sde_diffusion.data import Digits, ImageSet
from sde_diffusion.errors import InputError
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.metrics.extractors import CnnExtractor, PixelExtractor
from sde_diffusion.metrics.extractors.cnn import train_cnn
from sde_diffusion.metrics.frechet import Reference, frechet_of_features
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.system.storage import asset
from tests.sealed_files import resealed, unsealed

from .gaussians import generator


def images(n: int, side: int = 28, seed: int = 0) -> Tensor:
    shape = (n, 1, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


def test_a_call_sees_few_images_and_the_features_are_those_of_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractor, seen = CnnExtractor(), []
    whole, extract = extractor.extract(images(50)).double(), CnnExtractor.extract

    def call(self: CnnExtractor, some: Tensor) -> Tensor:
        seen.append(len(some))
        return extract(self, some)

    monkeypatch.setattr(CnnExtractor, "extract", call)
    extractor.batch_size, extractor.rows = 20, 6
    torch.testing.assert_close(extractor(images(50)), whole, rtol=1e-5, atol=1e-5)
    assert seen == [6, 6, 6, 2, 6, 6, 6, 2, 6, 4]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of the embedded digits."""
    path = tmp_path_factory.mktemp("extractor") / "digits-cnn.safetensors"
    train_cnn(Digits("train").load(), path, epochs=8, dim=16, seed=1)
    return path


def test_training_learns_and_is_named_after_its_file(trained: Path) -> None:
    extractor = CnnExtractor(str(trained))
    assert extractor.accuracy(Digits("test").load()) > 0.85
    assert (extractor.name, extractor.dim) == ("digits-cnn", 16)
    assert extractor.metric == "FD[digits-cnn]"


def test_the_residual_classifier_learns_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "residual.safetensors"
    train_cnn(Digits("train").load(), path, 4, 16, 0, "residual", "bfloat16")
    extractor = CnnExtractor(str(path))
    assert extractor.accuracy(Digits("test").load()) > 0.5
    assert extractor(Digits("test").load().images).shape == (297, 16)
    again = tmp_path / "again.safetensors"
    train_cnn(Digits("train").load(), again, 4, 16, 0, "residual", "bfloat16")
    assert again.read_bytes() == path.read_bytes()


def test_training_is_of_its_seed_and_leaves_the_global_one_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_cnn(Digits("train").load()[:256], tmp_path / name, epochs=1, dim=4, seed=seed)
        contents.append((tmp_path / name).read_bytes())
    assert torch.equal(torch.get_rng_state(), before)
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_a_sample_does_not_depend_on_its_batch(trained: Path) -> None:
    extractor, x = CnnExtractor(str(trained)), images(503, side=8)
    together = extractor(x)
    assert together.shape == (503, 16)
    assert together.dtype == torch.float64
    assert not together.requires_grad
    torch.testing.assert_close(extractor(x[-1:]), together[-1:], rtol=0, atol=1e-5)


def test_fingerprint_is_of_the_weights_and_not_of_the_name(trained: Path, tmp_path: Path) -> None:
    known = CnnExtractor(str(trained)).fingerprint
    copy = tmp_path / "other.safetensors"
    copy.write_bytes(trained.read_bytes())
    assert CnnExtractor(str(copy)).fingerprint == known
    tensors = load_file(trained)
    tensors["hidden.weight"][0, 0] += 1e-3
    resealed(copy, tensors=tensors)
    assert CnnExtractor(str(copy)).fingerprint != known


@pytest.mark.parametrize(
    "changes",
    [{"dim": 17}, {"dim": 10**9}, {"shape": [1, 10**6, 10**6]}, {"shape": 8},
     {"shape": [3, 8, 8]}, {"classes": 9}, {"architecture": "residual"},
     {"architecture": 3}, {"classes": "ten"}, {"shape": [1, "8", 8]}],
    ids=str,
)  # fmt: skip
def test_files_with_other_facts_are_refused(
    trained: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    path = tmp_path / "changed.safetensors"
    path.write_bytes(trained.read_bytes())
    resealed(path, changes)
    with pytest.raises(InputError, match=r"extractor\.file=.*no extractor.*diffusion extractor"):
        CnnExtractor(str(path))


def test_files_of_revision_7a19cb7_are_read(trained: Path, tmp_path: Path) -> None:
    """The oldest say no architecture: it is the strided one."""
    path, x = tmp_path / "old.safetensors", images(3, side=8)
    path.write_bytes(trained.read_bytes())
    resealed(path, drop=("architecture",))
    unsealed(path, "sde_diffusion_extractor", {"format": 1})
    assert torch.equal(CnnExtractor(str(path))(x), CnnExtractor(str(trained))(x))
    path.write_bytes(trained.read_bytes())
    unsealed(path, "sde_diffusion_extractor", {"format": 2})
    with pytest.raises(InputError, match="format 2"):
        CnnExtractor(str(path))


def test_files_that_are_torn_foreign_or_missing(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "torn").write_bytes(trained.read_bytes()[:-100])
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    for name in ("partial", "half"):
        (tmp_path / name).write_bytes(trained.read_bytes())
    resealed(tmp_path / "partial", drop=("head.bias",))
    resealed(tmp_path / "half", tensors={k: v.half() for k, v in load_file(trained).items()})
    for name in ("torn", "foreign", "partial", "half"):
        with pytest.raises(InputError, match="no extractor of this version"):
            CnnExtractor(str(tmp_path / name))
    with pytest.raises(InputError, match="no such file"):
        CnnExtractor(str(tmp_path / "missing"))


def test_images_of_another_kind_are_refused(trained: Path) -> None:
    for extractor in (CnnExtractor(str(trained)), PixelExtractor(2, 1, 8, 8)):
        with pytest.raises(InputError, match="extractor="):
            extractor(images(2, side=28))
        with pytest.raises(InputError, match="give uint8"):
            extractor(images(2, side=8).float())
        with pytest.raises(InputError, match="give uint8"):
            extractor(images(2, side=8)[:, 0])


def test_data_that_cannot_be_learned(tmp_path: Path) -> None:
    square = images(200, side=8)
    labels = torch.arange(200) % 10
    for data, message in (
        (ImageSet(square, None, 0, "plain"), "no classes"),
        (ImageSet(square[:127], labels[:127], 10, "few"), "at least 128"),
        (ImageSet(square[..., :4], labels, 10, "oblong"), "square"),
        (ImageSet(square[..., :4, :4], labels, 10, "tiny"), "8 pixels"),
    ):
        with pytest.raises(InputError, match=message):
            train_cnn(data, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_pixels_are_averaged_over_squares() -> None:
    x = images(3, side=8)
    found = PixelExtractor(4, 1, 8, 8)(x)
    by_hand = x.double().reshape(3, 2, 4, 2, 4).mean((2, 4)).flatten(1) / 255
    torch.testing.assert_close(found, by_hand, rtol=0, atol=1e-15)
    assert torch.equal(PixelExtractor(1, 1, 8, 8)(x), x.flatten(1).double() / 255)


def test_pixel_names_and_fingerprints_tell_poolings_apart() -> None:
    found = [PixelExtractor(pool) for pool in (1, 2, 4)] + [PixelExtractor(4, 3, 32, 32)]
    assert len({e.fingerprint for e in found}) == 4
    assert PixelExtractor(2).fingerprint == found[1].fingerprint
    assert [e.dim for e in found] == [784, 196, 49, 192]
    assert found[1].metric == "FD[pixel2]"


@pytest.mark.parametrize("pool", [0, -1, 3])
def test_pool_must_divide(pool: int) -> None:
    with pytest.raises(InputError, match=r"extractor\.pool="):
        PixelExtractor(pool)


def test_the_shipped_extractor() -> None:
    extractor = CnnExtractor()
    assert extractor.metric == "FD[mnist-cnn]"
    assert extractor.dim == 64
    assert asset("mnist-cnn").stat().st_size <= 2**20
    features = extractor(images(5))
    assert features.shape == (5, 64)
    assert bool(features.isfinite().all())


def test_truncated_pixels_are_seen_by_the_distance() -> None:
    x = torch.rand(4000, 1, 8, 8, generator=generator(0), dtype=torch.float64) * 2 - 1
    extractor = PixelExtractor(2, 1, 8, 8)
    exact = F.avg_pool2d((x + 1) / 2, 2).flatten(1)
    reference = Reference.from_stats(FeatureStats.of(exact))

    def distance(images: Tensor) -> float:
        return frechet_of_features(extractor(images), reference).value

    def truncating(x: Tensor) -> Tensor:  # the known wrong way
        return ((x.clamp(-1, 1) + 1) * 127.5).to(torch.uint8)

    # Half a grey level in each of 16 features, against rounding's nothing but its variance.
    half_level = 16 * (0.5 / 255) ** 2
    assert distance(truncating(x)) == pytest.approx(half_level, rel=0.05)
    assert distance(to_uint8(x)) < 0.01 * half_level


def test_images_of_another_shape_are_told_an_extractor_that_takes_them() -> None:
    with pytest.raises(InputError, match=r"not \(3, 20, 20\); .*extractor=random-conv"):
        CnnExtractor()(torch.zeros(2, 3, 20, 20, dtype=torch.uint8))
