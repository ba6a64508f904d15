"""Are drawn textures like the pictures they were learnt from, and is a seamless one without a seam?

The model: sde-diffusion train experiment=texture data.path=[brick.png,grass.png,gravel.png]
data.scale=0.25 data.size=32 hydra.run.dir=FOLDER, of scikit-image's pictures; then
python benchmarks/textures.py FOLDER SECONDS, the processor's seconds that the training took.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy
import render
import torch
from page import HERE
from PIL import Image
from skimage import data as pictures
from torch import Tensor

from sde_diffusion import Patches, evaluate, load
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.images.sheet import image_rows, png_bytes

NAMES = ("brick", "grass", "gravel")
SIDE, SCALE, LARGE = 32, 0.25, 128
N, DRAWN, NFE = 400, 8, 16


def paths(folder: Path) -> list[str]:
    """scikit-image's pictures as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        Image.fromarray(getattr(pictures, name)()).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in NAMES]


def cut(large: Tensor, n: int, seed: int) -> Tensor:
    """n patches [n, C, 32, 32] at random places of pictures [M, C, H, W] on a torus."""
    generator = torch.Generator().manual_seed(seed)
    patches = []
    for i in range(n):
        picture = large[i % len(large)]
        shift = [int(torch.randint(side, (1,), generator=generator)) for side in picture.shape[1:]]
        patches.append(torch.roll(picture, shift, (-2, -1))[:, :SIDE, :SIDE])
    return torch.stack(patches)


def across_the_edge(large: Tensor, n: int, seed: int) -> Tensor:
    """The same, all of them with the corner in which four copies of a picture meet within."""
    half = SIDE // 2
    middle = torch.roll(large, (half, half), (-2, -1))
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randint(-half + 4, half - 3, (n, 2), generator=generator).tolist()
    moved = [torch.roll(middle[i % len(middle)], shifts[i], (-2, -1)) for i in range(n)]
    return torch.stack([each[:, :SIDE, :SIDE] for each in moved])


def seam(large: Tensor) -> float:
    """Mean |difference| of neighbours over the edges of the torus, over that elsewhere."""
    x = to_float(large)
    over, within = [], []
    for axis in (-2, -1):
        change = (x - torch.roll(x, 1, axis)).abs().movedim(axis, 0)
        over.append(change[0].flatten())
        within.append(change[1:].flatten())
    return float(torch.cat(over).mean() / torch.cat(within).mean())


def distance(images: Tensor, held_out: Tensor) -> float:
    """FD[random-conv] without bias."""
    reference = ImageSet(held_out, None, 0, "held out")
    row = evaluate(images, reference=reference, extractor="random-conv")[-1]
    return float(row["fd_debiased"])


def texture(model: Any, label: int, path: str) -> dict[str, Any]:
    """All figures of one texture, and pictures of it."""
    source = Patches(path, size=SIDE, scale=SCALE, n=N)
    train, held_out = source.load().images, source.changed(split="test").load().images
    small = model.sample(n=N, nfe=NFE, label=label).images
    around = model.sized((LARGE, LARGE), seamless=True)
    large = around.sample(n=DRAWN, nfe=NFE, label=label, batch_size=4).images
    plain = model.sized((LARGE, LARGE)).sample(n=DRAWN, nfe=NFE, label=label, batch_size=4).images
    return {
        "train": distance(train, held_out),
        "patches": distance(small, held_out),
        "large": distance(cut(large, N, 0), held_out),
        "edge": distance(across_the_edge(large, N, 0), held_out),
        "large to train": distance(cut(large, N, 0), train),
        "patches to train": distance(small, train),
        "seam": seam(large),
        "seam without": seam(plain),
        "shown": large[0].tile(1, 2, 2),
    }


def main() -> None:
    """Write textures.md."""
    model = load(sys.argv[1])
    files = paths(HERE.parent / "outputs" / "benchmark-textures")
    found = {name: texture(model, k, files[k]) for k, name in enumerate(NAMES)}
    rows = [
        [name, *(f"{cell[key]:.3g}" for key in ("train", "patches", "large", "edge"))]
        for name, cell in found.items()
    ]
    head = ["texture", "trained on", "drawn 32 x 32", f"cut from {LARGE} x {LARGE}",
            "across its edges"]  # fmt: skip
    own = [[name, f"{cell['patches to train']:.3g}", f"{cell['large to train']:.3g}"]
           for name, cell in found.items()]  # fmt: skip
    edges = [[name, f"{cell['seam']:.2f}", f"{cell['seam without']:.2f}"]
             for name, cell in found.items()]  # fmt: skip
    real = [Image.open(file).convert("L").resize((LARGE, LARGE), Image.Resampling.BICUBIC)
            for file in files]  # fmt: skip
    sources = [torch.from_numpy(numpy.array(each))[None] for each in real]
    worst = max(cell["seam"] for cell in found.values())
    sheet = image_rows([[s, found[n]["shown"]] for s, n in zip(sources, NAMES, strict=True)])
    (HERE / "textures.png").write_bytes(png_bytes(sheet))
    values = {
        "patches": N, "large": LARGE, "drawn": DRAWN, "nfe": NFE, "steps": model.spec.step,
        "minutes": float(sys.argv[2]) / 60,
        "distances": render.table(head, rows),
        "own": render.table(["texture", "drawn 32 x 32", f"cut from {LARGE} x {LARGE}"], own),
        "edges": render.table(["texture", "seamless", "without"], edges), "worst": worst,
    }  # fmt: skip
    render.page("textures", values)


if __name__ == "__main__":
    main()
