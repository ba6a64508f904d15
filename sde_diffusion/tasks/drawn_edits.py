"""The samples of an edit job, part by part on disk: a kill loses the part that it hits.

A part is a batch of the samples of one picture. Several processes share all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from tqdm import tqdm

from sde_diffusion.sampling.damaged import Damaged
from sde_diffusion.sampling.edit import Edited, Editor
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.identity import digest
from sde_diffusion.system.sealed import SealedKind, first_checksum
from sde_diffusion.system.share import shared

EDITED = SealedKind("edited samples", 1, "run the same command again")
FACTS = ("nfe", "seconds", "backward_passes")


@final
@dataclass(frozen=True)
class PictureBatch:
    """A batch of the samples of one picture.

    Attributes:
        name: of the picture. rows: of the request. path: the file.
    """

    name: str
    rows: slice
    path: Path

    @property
    def size(self) -> int:
        """How many samples it is."""
        return int(self.rows.stop - self.rows.start)


@final
@dataclass(frozen=True)
class Edits:
    """What is to be drawn of each picture, and where the parts lie until all are there.

    Attributes:
        folder: of the parts. depends: all that the samples depend on, beside what is known.
        pictures: what is known of each, and the white of its grey levels, by name.
        request, strength: as for ``Editor.edit``.
    """

    folder: Path
    depends: Mapping[str, Any]
    editor: Editor
    pictures: Mapping[str, tuple[Damaged, int]]
    request: Request
    strength: float
    execution: Execution

    def check(self) -> None:
        """InputError for what cannot be drawn."""
        for k, (damaged, _) in enumerate(self.pictures.values()):
            sampler, wanted = self.editor.prepared(damaged, self.request, self.strength)
            if k == 0:
                sampler.tell_idle(wanted)

    @cached_property
    def parts(self) -> list[PictureBatch]:
        """Of all pictures."""
        n, size = len(self.request.seeds), self.execution.batch_size
        rows = [slice(k, min(k + size, n)) for k in range(0, n, size)]
        whole = {
            name: digest(self._content(damaged)) for name, (damaged, _) in self.pictures.items()
        }
        return [
            PictureBatch(
                name, each, self.folder / f"{begin}-{each.start:06d}-{each.stop:06d}.safetensors"
            )
            for name, begin in whole.items()
            for each in rows
        ]

    def _content(self, damaged: Damaged) -> dict[str, Any]:
        """All that the samples of a picture depend on."""
        held = {"y": damaged.y, **{f"aside {key}": each for key, each in damaged.aside.items()}}
        if damaged.picture is not None:
            held["picture"] = damaged.picture
        sampler = self.editor.sampler(damaged.shape)
        return {
            **self.depends,
            "known": first_checksum(held),
            "shape": list(damaged.shape),
            "denoiser": sampler.denoiser.identity,
            "rule": sampler.solver.content,
        }

    def draw(self) -> None:
        """Draw what no process has drawn yet; returns once all parts are there."""
        total = sum(part.size for part in self.parts)
        with tqdm(total=total, desc="edit", unit="image", disable=hidden()) as bar:

            def whole(part: PictureBatch) -> bool:
                there = EDITED.recall(part.path, lambda *content: True) is not None
                bar.update(there * part.size)
                return there

            def make(part: PictureBatch) -> None:
                self._make(part)
                bar.update(part.size)

            for _ in shared(self.parts, lambda part: part.path, make, whole):
                continue

    def _make(self, part: PictureBatch) -> None:
        damaged, _ = self.pictures[part.name]
        sampler, wanted = self.editor.prepared(damaged, self.request, self.strength)
        drawn = sampler.sample(wanted.rows(part.rows), self.execution)
        drawn.check()
        EDITED.write(part.path, {"x": drawn.x}, {name: getattr(drawn, name) for name in FACTS})

    def edited(self) -> dict[str, Edited]:
        """The samples of each picture, all parts joined."""
        batches: dict[str, list[Samples]] = {name: [] for name in self.pictures}
        for part in self.parts:
            batches[part.name].append(self._read(part))
        return {
            name: self.editor.edited(damaged, Samples.join(batches[name]), white)
            for name, (damaged, white) in self.pictures.items()
        }

    def _read(self, part: PictureBatch) -> Samples:
        seeds = tuple(self.request.seeds[part.rows])
        return EDITED.read(
            part.path, "parts", lambda facts, tensors: Samples(tensors["x"], seeds, **facts)
        )
