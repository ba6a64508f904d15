"""Are the Inception features those of the literature? What does an image cost under each extractor?

``python benchmarks/extractors.py cifar10-jpeg.zip`` writes extractors.md. It needs torch-fidelity
(``pip install --no-deps torch-fidelity``); SDE_DIFFUSION_INCEPTION names the published weights,
random ones stand in for them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import page
import render
import torch
import torch.nn.functional as F
from torch import Tensor

from sde_diffusion.data import CIFAR10
from sde_diffusion.metrics.extractors import (
    CnnExtractor,
    Extractor,
    InceptionExtractor,
    PcaExtractor,
    PixelExtractor,
    RandomConvExtractor,
)
from sde_diffusion.metrics.extractors import inception as inception_module
from sde_diffusion.metrics.extractors.resize import tf1_bilinear

sys.path.insert(0, str(page.HERE.parent))
from tests.metrics.inception_weights import write_random_weights

PEER = "torch_fidelity"
IMAGES, TIMED, REPEATS = 32, 200, 3
HEAD = ["resize to 299 x 299", "mean grey levels off", "largest", "features off, largest"]


def peer() -> ModuleType:
    """torch-fidelity's Inception module alone: the whole package imports torchvision."""
    spec = importlib.util.find_spec(PEER)
    if spec is None or spec.submodule_search_locations is None:
        sys.exit("torch-fidelity is not installed: pip install --no-deps torch-fidelity")
    shell = ModuleType(PEER)
    shell.__path__ = list(spec.submodule_search_locations)
    sys.modules[PEER] = shell
    return importlib.import_module(f"{PEER}.feature_extractor_inceptionv3")


def half_pixels(x: Tensor, size: int) -> Tensor:
    """The resize of image libraries: half pixels, antialiased."""
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True)


def truncated(x: Tensor, size: int) -> Tensor:
    """The right resize, then uint8 by truncation."""
    return tf1_bilinear(x, size).floor()


WAYS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "TensorFlow 1's resize (ours)": tf1_bilinear,
    "half pixels, antialiased": half_pixels,
    "truncated to grey levels": truncated,
}


def agreement(images: Tensor, weights: Path) -> list[list[str]]:
    """Each way to resize: grey levels and features away from the peer's."""
    theirs = peer().FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
    )
    with torch.no_grad():
        expected = torch.cat([theirs(part)[0] for part in images.split(32)]).double()
    resize = importlib.import_module(f"{PEER}.interpolate_compat_tensorflow")
    protocol = resize.interpolate_bilinear_2d_like_tensorflow1x(
        images.float(), size=(299, 299), align_corners=False
    )
    ours, rows = InceptionExtractor(str(weights)), []
    for name, way in WAYS.items():
        inception_module.tf1_bilinear = way  # type: ignore[assignment]
        difference = (ours(images) - expected).abs()
        grey = (way(images.float(), 299) - protocol).abs()
        rows.append([name, f"{float(grey.mean()):.2g}", f"{float(grey.max()):.2g}",
                     f"{float(difference.max()):.2g}"])  # fmt: skip
    inception_module.tf1_bilinear = tf1_bilinear
    rows.append(["(features: standard deviation)", "", "", f"{float(expected.std()):.2g}"])
    return rows


def cost(extractors: list[tuple[Extractor, int]], images: Tensor) -> list[list[str]]:
    """Milliseconds of processor time an image, interleaved, the median of several rounds."""
    taken: dict[str, list[float]] = {e.name: [] for e, _ in extractors}
    for _ in range(REPEATS + 1):
        for extractor, n in extractors:
            began = time.process_time()
            extractor(images[:n])
            taken[extractor.name].append((time.process_time() - began) / n)
    # The first round warms up.
    return [
        [f"`{e.name}`", str(e.dim), f"{1e3 * statistics.median(taken[e.name][1:]):.2g}"]
        for e, _ in extractors
    ]


def main() -> None:
    """Write extractors.md."""
    if len(sys.argv) > 1:
        os.environ["CIFAR10_ROOT"] = sys.argv[1]
    images = CIFAR10(split="test").load().images[:: 10_000 // TIMED]
    named = os.environ.get(inception_module.VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(named) if named else write_random_weights(Path(folder) / "weights.pth")
        rows = agreement(images[:IMAGES], weights)
        extractors: list[tuple[Extractor, int]] = [
            (PixelExtractor(4, 3, 32, 32), TIMED), (PcaExtractor("cifar10"), TIMED),
            (RandomConvExtractor(64, 3), TIMED), (CnnExtractor("cifar-cnn"), TIMED),
            (InceptionExtractor(str(weights)), 8),
        ]  # fmt: skip
        times = cost(extractors, images)
    kind = "the published weights" if named else "random weights of unit scale"
    values = {
        "images": IMAGES,
        "kind": kind,
        "rows": render.table(HEAD, rows),
        "repeats": REPEATS,
        "times": render.table(["extractor", "features", "ms an image"], times),
    }
    render.page("extractors", values)


if __name__ == "__main__":
    main()
