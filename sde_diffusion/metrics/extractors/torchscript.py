"""Features of any network that was saved as TorchScript, DINOv2 for one."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.extractors.resize import RESIZES
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.names import check_file_name
from sde_diffusion.system.spelling import none_of

# Part of the fingerprint: to be raised with any change of what the same file computes.
PROTOCOL = "torchscript 1; float32"


class TorchScriptExtractor(Extractor):
    """Output [N, d] of a TorchScript module, on images (resize(x) / 255 - mean) / std.

    TorchScript is read without unpickling; files of ``torch.export`` are not, so they are refused.
    It is a program all the same: it may write files, or never end. Run none of a stranger's.

    Args:
        file: the module, saved with ``torch.jit.save``; it takes float32 [N, C, size, size].
        name: what the distance is called after, FD[name].
        size: of its input, in pixels.
        resize: bicubic or bilinear (antialiased, as image libraries do), tf1, or none.
        mean, std: for each channel, in units of 0 .. 1; grey images are repeated over them.
        batch: images at once. device: where the network runs.
        trust: that the program in ``file`` may run: true, said by whoever knows where it is from.
    """

    def __init__(
        self,
        file: str,
        name: str = "torchscript",
        size: int = 224,
        resize: str = "bicubic",
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        batch: int = 50,
        device: str = "cpu",
        trust: bool = False,
    ) -> None:
        self.mean, self.std = ([float(v) for v in values] for values in (mean, std))
        check_file_name(name, "extractor.name")
        if resize not in RESIZES:
            raise none_of("extractor.resize", resize, sorted(RESIZES))
        if size < 1 or batch < 1:
            raise InputError(f"extractor.size={size}, batch={batch}: give numbers >= 1")
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise InputError(
                f"extractor.mean={self.mean}, extractor.std={self.std}: give as many of both, one "
                "a channel, std > 0"
            )
        self.name, self.size, self.resize = name, size, resize
        self.batch_size = self.rows = batch
        self.device = usable_device(device, "extractor.device")
        self.network = _load(Path(file), self.device, trust)
        with open(file, "rb") as content:
            weights = hashlib.file_digest(content, "sha256").hexdigest()
        facts = json.dumps([PROTOCOL, weights, size, resize, self.mean, self.std])
        self.fingerprint = hashlib.sha256(facts.encode()).hexdigest()[:16]
        grey = torch.zeros(2, len(self.mean), size, size, dtype=torch.uint8)
        with torch.no_grad():
            self.dim = self.extract(grey).shape[1]

    def extract(self, images: Tensor) -> Tensor:
        channels = len(self.mean)
        if images.shape[1] not in (1, channels):
            raise InputError(
                f"extractor={self.name}: takes 1 or {channels} channels, not {images.shape[1]}"
            )
        x = images.to(self.device, torch.float32).expand(-1, channels, -1, -1)
        column = [torch.tensor(v, device=self.device)[:, None, None] for v in (self.mean, self.std)]
        x = (RESIZES[self.resize](x, self.size) / 255 - column[0]) / column[1]
        try:
            features = self.network(x)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"extractor.file: its module fails on float32 {tuple(x.shape)} ({reason}); "
                "set extractor.size, extractor.mean and extractor.std to its input"
            ) from error
        if not torch.is_tensor(features) or features.ndim != 2 or len(features) != len(x):
            raise InputError(
                "extractor.file: its module does not give one row of features an image; "
                "save one that returns a tensor [N, d]"
            )
        return features


def _load(path: Path, device: torch.device, trust: bool) -> torch.jit.ScriptModule:
    if not path.is_file():
        raise InputError(f"extractor.file={path}: no such file")
    if trust is not True:
        raise InputError(
            f"extractor.file={path}: TorchScript is a program, which may do what you may; if you "
            "know where it is from, set extractor.trust=true"
        )
    try:
        with warnings.catch_warnings():
            # torch.jit is deprecated in favour of torch.export, whose loader unpickles.
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split()).split(". ")[0][:120]
        raise InputError(
            f"extractor.file={path}: torn, or not TorchScript ({reason}); "
            "give a file of torch.jit.save"
        ) from error
