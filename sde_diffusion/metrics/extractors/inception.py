"""Features of the Inception network: the ones whose Fréchet distance is called FID."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.extractors.inception_v3 import InceptionV3
from sde_diffusion.metrics.extractors.resize import tf1_bilinear
from sde_diffusion.metrics.extractors.weights import content_hash, read_weights
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.notice import optional
from sde_diffusion.system.storage import cache_folder, write_atomically

# TensorFlow's weights of 2015-12-05 as ported for pytorch-fid and torch-fidelity (Apache-2.0).
URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
BYTES = 95_628_359
VARIABLE = "SDE_DIFFUSION_INCEPTION"
SIDE, CLASSES = 299, 1008


class InceptionExtractor(Extractor):
    """The 2,048 pooled features of Inception v3, by the protocol of the published FID.

    Images are resized to 299 x 299 as TensorFlow 1 does, and scaled by (x - 128) / 128; grey ones
    are given three equal channels. The distance is called FID with the published weights alone.

    Args:
        weights: file of the ported weights, PyTorch's or safetensors; null: the file that
            SDE_DIFFUSION_INCEPTION names, else the one downloaded before.
        download: fetch the published weights (96 MB) if they are not there.
        device: where the network runs.
    """

    batch_size = 32
    name = "inception"
    dim = 2048
    sha256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # of what is at URL
    # Part of the fingerprint: to be raised with any change of what the same weights compute.
    protocol = "inception-v3 pool3 1; resize tf1 299; (x - 128) / 128; float32"

    def __init__(
        self, weights: str | None = None, download: bool = False, device: str = "cpu"
    ) -> None:
        self.device = usable_device(device, "extractor.device")
        with _found(weights, download, self.sha256) as path:
            tensors = read_weights(path, "extractor.weights")
            self.network = _network(tensors, path).to(self.device).eval()
            with open(path, "rb") as file:
                self.published = hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        content = f"{self.protocol} {content_hash(self.network.state_dict())}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def metric(self) -> str:
        """FID with the published weights, FD[inception] with any others."""
        return "FID" if self.published else super().metric

    def extract(self, images: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise InputError(
                f"extractor=inception: takes 1 or 3 channels, not {images.shape[1]}; "
                "give grey or colour images"
            )
        x = images.to(self.device, torch.float32).expand(-1, 3, -1, -1)
        return self.network((tf1_bilinear(x, SIDE) - 128) / 128)


@contextlib.contextmanager
def _found(weights: str | None, download: bool, sha256: str) -> Iterator[Path]:
    """The weights file: named, by the environment, in the cache, or fetched there; where the cache
    cannot be written, a line says so, and the file goes with the block."""
    named = weights or os.environ.get(VARIABLE)
    path = Path(named) if named else cache_folder() / "weights" / URL.rpartition("/")[2]
    if named or path.is_file():
        yield path
        return
    if not download:
        raise InputError(
            f"extractor.weights: required; give the file {path.name}, name it in {VARIABLE}, or "
            "fetch it with extractor.download=true"
        )
    print(f"inception: fetching {URL} to {path}")
    content = fetch(URL)
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise InputError(f"extractor.download: {URL} has SHA-256 {digest}, not {sha256}; not kept")
    with tempfile.TemporaryDirectory() as spare:
        kept = Path(spare, path.name)
        with optional("weights kept in the cache"):
            write_atomically(path, content)
            kept = path
        if kept != path:
            write_atomically(kept, content)
        yield kept


def fetch(url: str, size: int = BYTES) -> bytes:
    """What is at ``url``, with a bar; of more than ``size`` bytes little more than those."""
    parts: list[bytes] = []
    try:
        with (
            urllib.request.urlopen(url, timeout=60) as reply,
            tqdm(total=size, desc="weights", unit="B", unit_scale=True, disable=None) as bar,
        ):
            while bar.n <= size and (part := reply.read(2**20)):
                parts.append(part)
                bar.n += len(part)
                bar.refresh()
    except (OSError, ValueError) as error:
        raise InputError(
            f"extractor.download: {url}: {error}; give the file with extractor.weights="
        ) from error
    return b"".join(parts)


def _network(tensors: dict[str, Tensor], path: Path) -> InceptionV3:
    """The network with these weights; InputError unless they are of FID's Inception."""
    with torch.device("meta"):
        network = InceptionV3()
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("tracked")}
    fault = None
    for name, ours in expected.items():
        if name not in tensors:
            fault = f"has no {name}"
        elif tensors[name].shape != ours.shape or tensors[name].dtype != ours.dtype:
            fault = f"{name} is {tensors[name].dtype} {tuple(tensors[name].shape)}"
        elif not bool(tensors[name].isfinite().all()):
            fault = f"{name} is not finite"
    # ImageNet's 1,000 classes mark other weights under the same names, whose distance is not FID.
    head = tensors.get("fc.weight")
    if fault is None and (head is None or tuple(head.shape) != (CLASSES, 2048)):
        fault = f"fc.weight is not ({CLASSES}, 2048)"
    if fault is not None:
        raise InputError(
            f"extractor.weights={path}: not FID's Inception ({fault}); "
            f"give {URL.rpartition('/')[2]}"
        )
    counts = {k: torch.tensor(0) for k in network.state_dict() if k.endswith("tracked")}
    network.load_state_dict({k: tensors[k] for k in expected} | counts, assign=True)
    return network
