"""Reference files: what they hold, whose they are, and what is refused; the shipped one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sde_diffusion.data import digits
from sde_diffusion.errors import InputError
from sde_diffusion.files import asset
from sde_diffusion.metrics.extractors import CnnExtractor, PixelExtractor
from sde_diffusion.metrics.frechet import frechet_curve
from sde_diffusion.metrics.inference import debiased
from sde_diffusion.metrics.reference import KEY, ReferenceSet

EXTRACTOR = PixelExtractor(2, 1, 8, 8)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "digits-reference.safetensors"
    ReferenceSet.of(EXTRACTOR, digits("train"), digits("test")).save(path)
    return path


def test_a_file_holds_the_whole_reference(made: Path) -> None:
    before = ReferenceSet.of(EXTRACTOR, digits("train"), digits("test"))
    after = ReferenceSet.load(made, EXTRACTOR)
    assert (after.name, after.stats.n) == ("digits-train", 1500)
    assert after.data_fingerprint == digits("train").fingerprint
    assert after.extractor_fingerprint == EXTRACTOR.fingerprint
    assert torch.equal(after.stats.mean, before.stats.mean)
    assert torch.equal(after.stats.M2, before.stats.M2)
    assert torch.equal(after.held_out, before.held_out)
    assert after.held_out.dtype == torch.float16


def test_half_precision_moves_the_floor_by_little(made: Path) -> None:
    known = ReferenceSet.load(made, EXTRACTOR)
    exact = EXTRACTOR(digits("test").images)
    half, full = (frechet_curve(x, known.reference, [297])[0] for x in (known.held_out, exact))
    assert half.value == pytest.approx(full.value, rel=1e-3)


def test_another_extractor_is_refused(made: Path) -> None:
    with pytest.raises(InputError, match="made with extractor pixel2"):
        ReferenceSet.load(made, PixelExtractor(4, 1, 8, 8))


def rewrite(path: Path, facts: dict[str, object], **tensors: torch.Tensor) -> None:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    known = json.loads(header["__metadata__"][KEY])
    held = {**load_file(path), **tensors}
    save_file(held, path, metadata={KEY: json.dumps({**known, **facts})})


@pytest.mark.parametrize(
    ("facts", "tensors"),
    [
        ({"format": 2}, {}),
        ({"n": 1}, {}),
        ({"n": None}, {}),
        ({}, {"mean": torch.zeros(15, dtype=torch.float64)}),
        ({}, {"M2": torch.zeros(16, 16)}),
        ({}, {"held_out": torch.zeros(5, 16)}),
        ({}, {"M2": torch.full((16, 16), torch.nan, dtype=torch.float64)}),
        ({}, {"mean": torch.tensor(0.0, dtype=torch.float64)}),
    ],
    ids=["format", "one image", "no n", "mean", "single", "held out", "nan", "scalar"],
)
def test_files_with_other_content_are_refused(
    made: Path, facts: dict[str, object], tensors: dict[str, torch.Tensor]
) -> None:
    rewrite(made, facts, **tensors)
    with pytest.raises(InputError, match="not reference statistics of this package") as found:
        ReferenceSet.load(made, EXTRACTOR)
    assert "\n" not in str(found.value)


def test_files_that_are_torn_foreign_or_missing(made: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(made.read_bytes()[:-100])
    foreign = tmp_path / "foreign"
    save_file({"a": torch.zeros(1)}, foreign)
    for path in (torn, foreign):
        with pytest.raises(InputError, match="not reference statistics"):
            ReferenceSet.load(path, EXTRACTOR)
    with pytest.raises(InputError, match="no such file"):
        ReferenceSet.load(tmp_path / "missing", EXTRACTOR)


def test_the_shipped_reference_and_its_floor() -> None:
    known = ReferenceSet.load(asset("mnist-cnn-reference"), CnnExtractor())
    assert (known.name, known.stats.n, len(known.held_out)) == ("mnist-train", 60000, 10000)
    assert known.data_fingerprint == "d9125c8a0373660c"
    floor = [d.value for d in frechet_curve(known.held_out, known.reference, [500, 1000, 10000])]
    # Real against real: small, and falling with N by the bias of the plug-in value.
    assert floor[0] > floor[1] > floor[2] > 0
    assert floor[2] < 0.01 * float(known.stats.cov.trace())
    unbiased = debiased(known.held_out[:1000], known.reference).value
    assert unbiased is not None
    assert abs(unbiased - floor[2]) < abs(floor[1] - floor[2])
