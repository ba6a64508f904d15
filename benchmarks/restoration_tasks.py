"""What restoration.py restores, the classical ways, and how pictures and findings are judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from skimage import metrics, restoration, transform
from torch import Tensor

from sde_diffusion import Box, Cartesian, Downsample, GaussianBlur, ParallelBeam, Scans, evaluate
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.operators import LinearMap, Operator
from sde_diffusion.operators.fourier import FourierMap

TASKS: dict[str, Operator] = {
    "inpainting, box": Box(0.4, 0.05), "4x": Downsample(4, noise=0.05),
    "blur": GaussianBlur(1.5, 0.05), "MRI 4x": Cartesian(4.0, noise=0.05),
    "CT, 16 views": ParallelBeam(16, noise=0.01),
}  # fmt: skip
CLASSICAL = {
    "inpainting, box": "biharmonic", "4x": "bicubic", "blur": "Wiener",
    "MRI 4x": "zero-filled, TV", "CT, 16 views": "filtered back-projection, TV",
}  # fmt: skip
JUDGES = {"mnist": "mnist-cnn", "scans": "random-conv", "shapes": "shapes-cnn"}
REFERENCE = 2000  # phantoms of the split train
THRESHOLD, NEAR = 0.17, 3.0  # of white, over the ring; pixels
ERODED = 7  # pixels from the edge of the head, whose skull is bright too


def classical(task: str, operator: Operator, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The way without a model, channel by channel, for y [N, *out]: pictures [N, C, H, W]."""
    made = operator.at(shape)
    assert isinstance(made, LinearMap)
    side = shape[-1]
    if task.startswith("inpainting"):
        hole = made.forward(torch.ones(1, *shape))[0, 0].numpy() == 0
        found = each(y, lambda plane: restoration.inpaint_biharmonic(plane, hole))
    elif task == "4x":
        found = each(y, lambda plane: transform.resize(plane, (side, side), order=3))
    elif task == "blur":
        at = torch.zeros(1, *shape)
        at[0, 0, side // 2, side // 2] = 1
        kernel = made.forward(at)[0, 0].numpy()
        found = each(y, lambda plane: restoration.wiener(plane, kernel, 0.02, clip=False))
    else:
        fourier = isinstance(made, FourierMap)
        first = made.adjoint(y) if fourier else back_projected(made, y, side)
        found = each(first, lambda plane: restoration.denoise_tv_chambolle(plane, 0.1))
    return found.clamp(-1, 1)


def each(y: Tensor, work: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """``work`` of every plane of y [N, C, H, W]."""
    planes = y.flatten(0, 1).numpy()
    return torch.from_numpy(np.stack([work(p) for p in planes])).float().unflatten(0, y.shape[:2])


def back_projected(made: LinearMap, y: Tensor, side: int) -> Tensor:
    """Ramp-filtered back-projection: air is -1, outside as inside."""
    views, bins = made.out[-2:]
    rays = y + made.forward(torch.ones(1, *made.shape))
    width = math.sqrt(2) / bins
    padded = torch.nn.functional.pad(rays, (0, bins))
    ramp = torch.fft.rfftfreq(2 * bins, d=width)
    filtered = torch.fft.irfft(torch.fft.rfft(padded) * ramp, n=2 * bins)[..., :bins]
    return math.pi / views * made.adjoint(filtered) * side**2 * width - 1


def judged(x: Tensor, truth: Tensor, operator: Operator, y: Tensor) -> dict[str, list[float]]:
    """PSNR in dB, SSIM and misfit of each picture of x [N, C, H, W]."""
    square = (x - truth).square().flatten(1).mean(1)
    ssim = [
        float(metrics.structural_similarity(a.numpy(), b.numpy(), data_range=2.0, channel_axis=0))
        for a, b in zip(x, truth, strict=True)
    ]
    psnr = (10 * (4 / square).log10()).tolist()
    return {"psnr": psnr, "ssim": ssim, "misfit": operator.misfit(x, y).tolist()}


def distance(data: str, x: Tensor) -> float:
    """Their Fréchet distance to the training data, without correction: of so few it is biased."""
    reference = Scans(n=REFERENCE).load() if data == "scans" else None
    found = evaluate(to_uint8(x), reference, extractor=JUDGES[data], metrics=[])
    return float(next(iter(found))["fd"])


def covered(draws: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """Shares of pixels whose truth lies in the middle 50 and 90 % of 19 draws, by rank; of those
    pixels in which the draws differ by more than a grey level, one number a picture.

    Args:
        draws: [N, 19, C, H, W]. truth: [N, C, H, W].
    """
    rank = ((draws < truth[:, None]).double().sum(1) + 0.5) / (draws.shape[1] + 1)
    live = (draws.std(1) > 2 / 255).double()
    return {
        key: (((rank - 0.5).abs() < level / 2) * live).flatten(1).sum(1).div(
            live.flatten(1).sum(1).clamp_min(1)
        ).tolist()
        for key, level in (("c50", 0.5), ("c90", 0.9))
    }  # fmt: skip


def findings(picture: np.ndarray) -> np.ndarray:
    """Where a matched filter sees a lesion, (row, column) [n, 2].

    Its answer is the mean of a disc of 2.5 pixels less that of a ring of 4 to 6; a finding is a
    local maximum, within 4 pixels, above ``THRESHOLD`` of white.
    """
    grid = np.hypot(*np.mgrid[-6:7, -6:7])
    disc, ring = grid <= 2.5, (grid >= 4) & (grid <= 6)
    kernel = disc / disc.sum() - ring / ring.sum()
    answer = ndimage.correlate((picture + 1) / 2, kernel, mode="nearest")
    top = (answer == ndimage.maximum_filter(answer, size=9)) & (answer > THRESHOLD)
    inside = ndimage.binary_erosion(ndimage.binary_fill_holes(picture > -0.9), iterations=ERODED)
    return np.argwhere(top & inside)


def counted(x: Tensor, truth: Tensor, lesions: Tensor) -> Mapping[str, Any]:
    """Lesions found, missed and invented over all pictures.

    Invented are findings near no lesion and near none of the filter's findings in the truth.
    """
    out = {"found": 0, "missed": 0, "invented": 0}
    for mine, right, listed in zip(x, truth, lesions, strict=True):
        places = listed[~listed[:, 0].isnan(), :2].numpy()
        seen, known = findings(mine[0].numpy()), findings(right[0].numpy())
        near = [bool(len(seen)) and np.hypot(*(seen - p).T).min() <= NEAR for p in places]
        allowed = np.concatenate([places, known])
        far = [not len(allowed) or np.hypot(*(allowed - p).T).min() > NEAR for p in seen]
        out["found"] += int(sum(near))
        out["missed"] += len(near) - int(sum(near))
        out["invented"] += int(sum(far))
    return out
