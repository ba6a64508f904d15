"""The samples of a job, part by part on disk: memory does not grow with their number.

Several processes share the parts, and a kill loses those that it hits.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.images.names import file_name
from sde_diffusion.images.sheet import cloud, image_grid, png_bytes
from sde_diffusion.process.noise import VERSION, seed_array
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.film import Film, draw, encode
from sde_diffusion.sampling.sampler import Request, Sampler, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.identity import digest
from sde_diffusion.system.npz import Pieces
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.sealed import SealedKind, Tensors, first_checksum
from sde_diffusion.system.share import shared

DRAWN = SealedKind("drawn samples", 1, "run the same command again")
# Of the samples, how many a picture shows at most, and how many numbers these may have.
SHEET, NUMBERS = 1024, 2**24
FILM = tuple(field.name for field in fields(Film))
ANIMATED = 16  # of the first part
NONE = " "  # begins the name of no tensor


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn, and where its parts lie until all are there.

    Attributes:
        folder: of the parts. depends: all that the samples depend on.
        trajectory: keep x_t / alpha_t of every step. animated: record how the first ones form.
    """

    folder: Path
    depends: Mapping[str, Any]
    sampler: Sampler
    request: Request
    execution: Execution
    trajectory: bool
    animated: bool

    @property
    def rows(self) -> list[slice]:
        """Of each part: a batch, or as many small ones as are animated."""
        size = self.execution.batch_size * -(-ANIMATED // self.execution.batch_size)
        n = len(self.request.seeds)
        return [slice(k, min(k + size, n)) for k in range(0, n, size)]

    def draw(self) -> DrawnSamples:
        """Draw what no process has drawn yet; returns once all parts are there."""
        n = len(self.request.seeds)
        with tqdm(total=n, desc="sample", unit="image", disable=hidden()) as bar:

            def whole(rows: slice) -> bool:
                there = DRAWN.recall(self._path(rows), lambda *content: True) is not None
                bar.update(there * (rows.stop - rows.start))
                return there

            def make(rows: slice) -> None:
                self._make(rows, bar.update)

            for _ in shared(self.rows, self._path, make, whole):
                continue
        return DrawnSamples([self._path(rows) for rows in self.rows], self.request.seeds)

    def _path(self, rows: slice) -> Path:
        name = f"{digest(self.depends)}-{rows.start:09d}-{rows.stop:09d}.safetensors"
        return self.folder / name

    def _make(self, rows: slice, heard: Callable[[int], Any]) -> None:
        recorded = ANIMATED if self.animated and rows.start == 0 else 0
        watch = Watch(self.trajectory, recorded, on_batch=heard)
        drawn = self.sampler.sample(self.request.rows(rows), self.execution, watch)
        facts = {
            "n": len(drawn),
            "nfe": drawn.nfe,
            "backward_passes": drawn.backward_passes,
            "seconds": drawn.seconds,
            "labels": None if drawn.labels is None else list(drawn.labels),
        }
        DRAWN.write(self._path(rows), _tensors(drawn), facts)


def _tensors(drawn: Samples) -> Tensors:
    tensors = {} if drawn.trajectory is None else {"trajectory": drawn.trajectory}
    if drawn.times is not None:
        tensors["times"] = drawn.times
    if drawn.calls is not None:
        tensors |= {f"film_{name}": getattr(drawn.film, name) for name in FILM}
    drawn.check()
    vectors = drawn.x.ndim == 2
    return {**tensors, **({"x": drawn.x.float()} if vectors else {"images": drawn.images})}


def content_of(cond: Condition | None) -> str:
    """A condition, and the side that guidance leads away from, by what they hold: whatever files
    that was read from."""
    if cond is None:
        return ""
    held: Tensors = {}
    for name, part in cond.parts.items():
        held |= {name: part.value, f"{name} kept": part.keep}
        held |= {f"{name} {key}": value for key, value in part.aside.items()}
    return first_checksum(held) + content_of(cond.other)


class DrawnSamples:
    """Samples whose parts are all on disk; each is read when it is asked for."""

    def __init__(self, paths: list[Path], seeds: Any) -> None:
        self.paths, self.seeds = paths, seeds
        self.facts = [DRAWN.read(path, "parts", lambda facts, _: facts, NONE) for path in paths]
        self.first = self._read(paths[0])
        self.kind = "x" if "x" in self.first else "images"

    def __len__(self) -> int:
        return len(self.seeds)

    def _read(self, path: Path) -> Tensors:
        return DRAWN.read(path, "parts", lambda _, tensors: tensors)

    def mean(self, fact: str) -> float:
        """Of a number that each part has, a sample."""
        return sum(float(facts[fact]) * int(facts["n"]) for facts in self.facts) / len(self)

    @property
    def seconds(self) -> float:
        """Of all parts, whichever process drew them."""
        return sum(float(facts["seconds"]) for facts in self.facts)

    @property
    def count(self) -> str:
        """``16 images``."""
        return f"{len(self)} image{'s' * (len(self) > 1)}"

    @property
    def numbers(self) -> int:
        """How many numbers the samples are."""
        return len(self) * self.first[self.kind][0].numel()

    def parts(self) -> Iterator[Tensor]:
        """The samples [n, C, H, W] uint8, or vectors [n, d], part by part."""
        for path in self.paths:
            yield self._read(path)[self.kind]

    def arrays(self) -> dict[str, Pieces]:
        """``images`` uint8 [N, H, W, C], or of a model of vectors ``x`` float32 [N, d]; ``seeds``;
        ``labels`` int64 [N], where each sample is of a class; and the ``trajectory`` at its
        ``times``, if it was kept."""
        one = self.first[self.kind][0]
        image = one.ndim == 3
        shape = (*one.shape[1:], one.shape[0]) if image else tuple(one.shape)
        pieces = ((part.permute(0, 2, 3, 1) if image else part).numpy() for part in self.parts())
        arrays = {
            self.kind: Pieces((len(self), *shape), np.empty(0, one.numpy().dtype).dtype, pieces)
        }
        if "trajectory" in self.first:
            states = torch.cat([self._read(path)["trajectory"] for path in self.paths], dim=1)
            arrays["trajectory"] = Pieces.of(states.numpy())
            arrays["times"] = Pieces.of(self.first["times"].numpy())
        labels = [label for facts in self.facts for label in facts["labels"] or [None]]
        if None not in labels:
            arrays["labels"] = Pieces.of(np.array(labels, np.int64))
        arrays["seeds"] = Pieces.of(seed_array(self.seeds))
        return {**arrays, NOISE: Pieces.of(np.array(VERSION))}

    def write_zip(self, file: IO[bytes]) -> None:
        """A zip of PNGs, one an image, named as ``Samples.save`` names them."""
        k = 0
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for facts, part in zip(self.facts, self.parts(), strict=True):
                labels = facts["labels"] or [None] * len(part)
                for image, label in zip(part, labels, strict=True):
                    picture = png_bytes(image_grid(image[None], scale=1))
                    name = file_name(k, len(self), self.seeds[k], label)
                    archive.writestr(zipfile.ZipInfo(name), picture)
                    k += 1

    def sheet(self) -> bytes:
        """A PNG of the first samples: images in a grid, vectors as a cloud."""
        most = max(1, min(SHEET, NUMBERS // self.first[self.kind][0].numel()))
        shown = torch.cat(list(_first(self.parts(), most)))[:most]
        return png_bytes(cloud(shown) if shown.ndim == 2 else image_grid(shown))

    def animation(self) -> bytes:
        """How the first images formed, as a .webp."""
        film = Film(**{name: self.first[f"film_{name}"] for name in FILM})
        return encode(draw({"": film}), ".webp")


def _first(parts: Iterator[Tensor], most: int) -> Iterator[Tensor]:
    """The parts until they hold ``most`` rows."""
    there = 0
    for part in parts:
        yield part
        there += len(part)
        if there >= most:
            return
