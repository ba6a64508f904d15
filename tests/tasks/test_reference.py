"""``reference``: statistics of a data set, made once, kept by content, verified when read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sde_diffusion.data import Digits, ImageSet
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.cache import cache_path, cached_reference
from sde_diffusion.metrics.extractors import PixelExtractor
from sde_diffusion.metrics.frechet import frechet_of_features
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import reference_for
from tests.conftest import Run

PIXELS = PixelExtractor(4, 1, 8, 8)
OVERRIDES = (
    "extractor=pixel", "extractor.height=8", "extractor.width=8", "hydra.run.dir=out",
)  # fmt: skip


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The images that the extractor saw, call by call."""
    seen: list[int] = []
    extract = PixelExtractor.extract

    def counting(self: PixelExtractor, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return extract(self, images)

    monkeypatch.setattr(PixelExtractor, "extract", counting)
    return seen


def squares(level: int, name: str = "squares") -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, level, (40, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, None, 0, name)


def test_the_command(quick_cli: Run, tmp_path: Path) -> None:
    done = quick_cli("reference", "data=digits", "keep=1000", *OVERRIDES)
    path = tmp_path / "out" / "pixel4-reference.safetensors"
    found = ReferenceSet.load(path, PIXELS)
    assert (found.stats.n, len(found.features), len(found.held_out)) == (1500, 1000, 297)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    (floor,) = result["floor"]
    held_out = frechet_of_features(PIXELS(Digits("test").load().images), found.reference)
    assert (floor["samples"], floor["fd"]) == (297, pytest.approx(held_out.value, rel=1e-2))
    assert floor["fd_low"] < floor["fd_debiased"] < floor["fd_high"]
    assert result["reference_fingerprint"] == Digits().load().fingerprint
    assert f"floor of FD[pixel4]  N=297: {floor['fd']:.4g}  without bias" in done.stdout
    np.savez(tmp_path / "a.npz", images=Digits("test").load().images.permute(0, 2, 3, 1).numpy())
    quick_cli("evaluate", f"images={tmp_path / 'a.npz'}", f"reference={path}", *OVERRIDES)
    scored = json.loads((tmp_path / "out" / "result.json").read_text())["rows"][0]
    assert scored["fd"] == pytest.approx(floor["fd"], rel=1e-2)  # float16 in the file


def test_an_extractor_has_the_channels_and_the_size_of_the_images(
    quick_cli: Run, tmp_path: Path
) -> None:
    quick_cli("reference", "data=digits", "extractor=pixel", "hydra.run.dir=out")
    path = tmp_path / "out" / "pixel4-reference.safetensors"
    assert ReferenceSet.load(path, PIXELS).shape == (1, 8, 8)
    quick_cli("evaluate", "images=digits", f"reference={path}", "extractor=pixel")
    colours = torch.randint(0, 256, (60, 16, 20, 3), dtype=torch.uint8)
    np.savez(tmp_path / "a.npz", images=colours[:30].numpy())
    np.savez(tmp_path / "b.npz", images=colours[30:].numpy())
    for name in ("pixel", "random-conv"):
        quick_cli("evaluate", "images=a.npz", "reference=b.npz", f"extractor={name}", "metric=[]")
    # Grey images are judged in the colours of the reference.
    np.savez(tmp_path / "grey.npz", images=colours[:30, :, :, 0].numpy())
    quick_cli("evaluate", "images=grey.npz", "reference=b.npz", "extractor=pixel", "metric=[]")


def test_a_number_of_images_is_held_out(quick_cli: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=squares(256).images.permute(0, 2, 3, 1).numpy())
    words = ("reference", "data=npz", f"data.path={tmp_path / 'a.npz'}", *OVERRIDES)
    quick_cli(*words, "held_out=15")
    found = ReferenceSet.load(tmp_path / "out" / "pixel4-reference.safetensors", PIXELS)
    assert (found.stats.n, len(found.held_out)) == (25, 15)
    both = torch.cat([found.features, found.held_out]).tolist()
    assert sorted(both) == sorted(PIXELS(squares(256).images).half().tolist())
    quick_cli(*words, "held_out=null")
    found = ReferenceSet.load(tmp_path / "out" / "pixel4-reference.safetensors", PIXELS)
    assert (found.stats.n, len(found.held_out)) == (40, 0)
    assert json.loads((tmp_path / "out" / "result.json").read_text())["floor"] == []
    # As typed first, of data without splits: a reference, and a line that none are held out.
    assert "so none are held out" in quick_cli(*words).stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("data=digits held_out=all", "data.split=all"),
        ("data=digits held_out=1", "held_out=1"),
        ("data=digits held_out=1499", "held_out=1499"),
        ("data=digits keep=1", "keep=1"),
        ("data=digits extractor.height=12", "extractor=pixel"),
        ("data=npz data.path=nosuch.npz", "data.path=nosuch.npz"),
        ("data=folder", "data.path: required"),
        ("data=digits samples=3", "samples"),
    ],
)
def test_wrong_input_is_one_line(quick_cli: Run, tmp_path: Path, words: str, named: str) -> None:
    np.savez(tmp_path / "a.npz", images=squares(256).images.permute(0, 2, 3, 1).numpy())
    done = quick_cli("reference", *OVERRIDES, *words.split(), ok=False)
    assert done.returncode != 0
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "result.json").exists()


def test_made_once_and_found_again_under_any_name(counted: list[int]) -> None:
    made = cached_reference(PIXELS, squares(256), squares(9))
    once = list(counted)
    again = cached_reference(PIXELS, squares(256, "renamed"), squares(9))
    assert counted == once
    assert again.name == "renamed"
    assert torch.equal(again.stats.M2, made.stats.M2)
    assert torch.equal(again.held_out, made.held_out)


Cache = Callable[[ImageSet], ReferenceSet]


def answers_for_other_images(cached: Cache) -> bool:
    """Whether images that changed under the same name get the statistics of the old ones."""
    bright, dark = squares(256, "real"), squares(30, "real")
    cached(bright)
    exact = ReferenceSet.of(PIXELS, dark)
    return not torch.equal(cached(dark).stats.mean, exact.stats.mean)


def test_a_cache_by_name_would_return_statistics_of_other_images() -> None:
    kept: dict[str, ReferenceSet] = {}

    def by_name(data: ImageSet) -> ReferenceSet:  # the known wrong way
        return kept.setdefault(data.name, ReferenceSet.of(PIXELS, data))

    assert answers_for_other_images(by_name)
    assert not answers_for_other_images(lambda data: cached_reference(PIXELS, data))


def test_all_that_it_depends_on_is_in_the_key() -> None:
    data, other = squares(256), squares(30)
    keys = {
        cache_path(PIXELS, data, None), cache_path(PIXELS, other, None),
        cache_path(PIXELS, data, other), cache_path(PIXELS, data, None, keep=10),
        cache_path(PixelExtractor(2, 1, 8, 8), data, None),
    }  # fmt: skip
    assert len(keys) == 5
    assert cache_path(PIXELS, squares(256, "renamed"), None) in keys


def test_a_damaged_file_is_made_again(
    counted: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    data = squares(256)
    made = cached_reference(PIXELS, data)
    path = cache_path(PIXELS, data, None)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    other = ReferenceSet.of(PIXELS, squares(30))
    for damage in (whole[:-40], bytes(flipped), b"", None):
        if damage is None:
            other.save(path)  # whole, but of other images
        else:
            path.write_bytes(damage)
        counted.clear()
        again = cached_reference(PIXELS, data)
        assert sum(counted) == 40
        assert torch.equal(again.stats.mean, made.stats.mean)
        assert path.read_bytes() == whole
        assert "made again" in capsys.readouterr().err


def test_a_cache_that_may_not_be_written_costs_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDE_DIFFUSION_CACHE", "/dev/null/x")
    monkeypatch.setattr(PixelExtractor, "batch_size", 10)
    made = cached_reference(PIXELS, squares(256), slow=-1.0)
    assert torch.equal(made.stats.M2, ReferenceSet.of(PIXELS, squares(256)).stats.M2)
    batches, reference = capsys.readouterr().err.splitlines()  # one line each, not one a batch
    assert batches.startswith("features kept for a restart: left out (")
    assert reference.startswith("reference kept in the cache: left out (")
    assert "Not a directory" in batches


def test_a_killed_run_goes_on_where_it_was(
    cache: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PixelExtractor, "batch_size", 10)
    data, held_out = squares(256), squares(30)
    counting = PixelExtractor.extract

    def killed(self: PixelExtractor, images: torch.Tensor) -> torch.Tensor:
        if len(counted) == 3:
            raise KeyboardInterrupt
        return counting(self, images)

    monkeypatch.setattr(PixelExtractor, "extract", killed)
    with pytest.raises(KeyboardInterrupt):
        cached_reference(PIXELS, data, held_out, slow=-1.0)
    monkeypatch.setattr(PixelExtractor, "extract", counting)
    next(cache.rglob("*.partial/*")).write_bytes(b"torn")
    counted.clear()
    made = cached_reference(PIXELS, data, held_out, slow=-1.0)
    assert sum(counted) == 80 - 30 + 10  # the torn batch again
    assert not list(cache.rglob("*.partial"))
    assert torch.equal(made.stats.M2, ReferenceSet.of(PIXELS, data, held_out).stats.M2)


def test_a_reference_by_path_or_name_goes_through_the_cache(
    tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = reference_for(PIXELS, "digits")
    assert (named.stats.n, len(named.held_out)) == (1500, 297)
    np.savez(tmp_path / "a.npz", images=squares(256).images.permute(0, 2, 3, 1).numpy())
    first = reference_for(PIXELS, str(tmp_path / "a.npz"))
    counted.clear()
    assert reference_for(PIXELS, "digits").name == "digits-train"
    assert torch.equal(reference_for(PIXELS, str(tmp_path / "a.npz")).features, first.features)
    assert counted == []
    with pytest.raises(InputError, match="none is shipped for extractor pixel4"):
        reference_for(PIXELS, None)
    with pytest.raises(InputError, match=r"reference=no\.npz"):
        reference_for(PIXELS, "no.npz")
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    with pytest.raises(InputError, match=r"reference=mnist: data\.root=.*MNIST_ROOT"):
        reference_for(PIXELS, "mnist")
