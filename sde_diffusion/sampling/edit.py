"""Pictures of which something is known -> samples of the posterior, by any method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.sized import at_size
from sde_diffusion.errors import InputError
from sde_diffusion.images.photo import WHITE_8, png_of
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.images.sheet import image_rows, png_bytes
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import with_measurement
from sde_diffusion.sampling.damaged import Damaged, check_pictures
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.sampling.start import PRIOR, Start, image_start
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.storage import write_atomically

DRAWS = 4  # of one picture on a sheet
CELL = 192  # pixels at least, a side of each in it


@final
@dataclass(frozen=True)
class Edited:
    """Samples of one picture.

    Attributes:
        samples: n draws; pixels that are known without noise are those of the picture.
        damaged: what was known.
        misfit: |A x - y| / sigma_y, root mean square of each draw [n], 1 for the truth; of an
            operator without noise in units of y.
        tiles: that each evaluation was made of. white: of the grey levels it is written in.
    """

    samples: Samples
    damaged: Damaged
    misfit: Tensor
    tiles: int = 1
    white: int = WHITE_8

    @property
    def images(self) -> Tensor:
        """uint8 [n, C, H, W]."""
        return self.samples.images

    @property
    def x(self) -> Tensor:
        """The draws [n, C, H, W], clipped to -1 .. 1."""
        return self.samples.x.clamp(-1, 1)

    @property
    def mean(self) -> Tensor:
        """Of the draws [C, H, W], -1 .. 1."""
        return self.x.mean(0)

    @property
    def std(self) -> Tensor:
        """Deviation of the draws from each other [C, H, W], of a range of 2; 0 of a single one."""
        return self.x.std(0, correction=min(1, len(self.x) - 1))

    @property
    def deviation(self) -> Tensor:
        """``std`` as a picture [1, H, W], -1 .. 1: white is the largest, black 0."""
        spread = self.std.mean(0, keepdim=True)
        return 2 * spread / spread.max().clamp_min(1e-12) - 1

    @property
    def pictures(self) -> list[Tensor]:
        """For a sheet, uint8 [C, H, W]: the first draws, and of several their mean and
        deviations."""
        several = [to_uint8(self.mean), to_uint8(self.deviation)] if len(self.x) > 1 else []
        return [*self.images[:DRAWS], *several]

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.x.shape[1:]))
        misfit = float(self.misfit.mean())
        return (
            f"Edited({len(self.x)} of {shape}, misfit {misfit:.3g}, {self.samples.seconds:.1f} s)"
        )

    def _repr_png_(self) -> bytes | None:
        """For a notebook: the truth, if it is known, and ``pictures``; None of states that are no
        pictures."""
        if self.x.shape[1] not in (1, 3) or not bool(self.x.isfinite().all()):
            return None
        truth = [] if self.damaged.truth is None else [to_uint8(self.damaged.truth)]
        return png_bytes(image_rows([[*truth, *self.pictures]], CELL))

    @property
    def psnr(self) -> list[float] | None:
        """In dB, of each draw and at last of the mean; None where the truth is not known."""
        if self.damaged.truth is None:
            return None
        answers = torch.cat([self.x, self.mean[None]])
        error = (answers - self.damaged.truth).square().flatten(1).mean(1)
        return (10 * (4 / error.double()).log10()).tolist()

    def files(self, name: str) -> dict[str, bytes]:
        """Pictures by the name of their file: NAME-1.png ..., and of several draws NAME-mean.png
        and NAME-std.png, in which white is the largest deviation."""
        several = {f"{name}-{k}.png": png_of(x, self.white) for k, x in enumerate(self.x, 1)}
        if len(self.x) == 1:
            return several
        return {
            **several,
            f"{name}-mean.png": png_of(self.mean, self.white),
            f"{name}-std.png": png_of(self.deviation),
        }

    def save(self, folder: str | Path, name: str = "edited") -> Path:
        """Write ``files`` into a folder, whose path is returned."""
        if not str(folder):
            raise InputError("folder='': give a path")
        for file, content in self.files(name).items():
            write_atomically(Path(folder) / file, content)
        return Path(folder)


@final
@dataclass(frozen=True)
class Editor:
    """Draws what is not known of pictures.

    Attributes:
        denoiser: of the model, without guidance. operator: by which y was measured.
        assemble: a sampler, whose method reads the measurement, of a denoiser.
    """

    denoiser: Denoiser
    operator: Operator
    assemble: Callable[[Denoiser], Sampler]

    def __post_init__(self) -> None:
        check_pictures(self.denoiser.space)

    def sampler(self, shape: tuple[int, ...]) -> Sampler:
        """For pictures of a shape, in tiles where the model's are smaller; InputError for a shape
        that it cannot draw."""
        return self.assemble(self._drawing(shape))

    def edit(
        self,
        damaged: Damaged,
        request: Request,
        strength: float = 1.0,
        execution: Execution | None = None,
        white: int = WHITE_8,
    ) -> Edited:
        """A sample a seed.

        Args:
            damaged: what is known. request: seeds, evaluations, and the condition beside it.
            strength: 1: from noise; below, from the picture at the noise level of ``level_of``.
            white: of the grey levels that the picture was stored in.
        """
        sampler, wanted = self.prepared(damaged, request, strength)
        sampler.tell_idle(wanted)
        drawn = sampler.sample(wanted, execution, Watch(progress=None if hidden() else "edit"))
        drawn.check()
        return self.edited(damaged, drawn, white)

    def edited(self, damaged: Damaged, drawn: Samples, white: int = WHITE_8) -> Edited:
        """What was drawn, with what is known without noise put back, and its misfit."""
        n = len(drawn)
        y, aside = damaged.y.expand(n, *damaged.y.shape), damaged.rows(n)
        x = damaged.map(self.operator).kept(drawn.x, y) if self.operator.noise == 0 else drawn.x
        misfit = self.operator.misfit(x, y, **aside)
        return Edited(replace(drawn, x=x), damaged, misfit, self.tiles(damaged.shape), white)

    def prepared(
        self, damaged: Damaged, request: Request, strength: float = 1.0
    ) -> tuple[Sampler, Request]:
        """The sampler, and the request with what was measured; InputError for what cannot be."""
        sampler, n = self.sampler(damaged.shape), len(request.seeds)
        y = damaged.y.expand(n, *damaged.y.shape)
        start: Start = PRIOR
        if strength != 1:
            x_0 = self.picture(damaged).expand(n, *damaged.shape)
            start = image_start(x_0, strength, sampler.grid)
        wanted = replace(
            request,
            cond=with_measurement(y, request.cond, **damaged.rows(n)),
            nfe=sampler.budget(request.nfe, start),
            size=damaged.shape,
            start=start,
        )
        sampler.walk(wanted)
        return sampler, wanted

    def picture(self, damaged: Damaged) -> Tensor:
        """The picture [C, H, W] that a strength below 1 starts from; InputError if y is none."""
        if damaged.picture is None:
            raise InputError(
                "strength: the measurement is no picture of the size to be drawn, so there is none "
                "to start from; give strength=1"
            )
        return damaged.picture

    def tiles(self, shape: tuple[int, ...]) -> int:
        """That a picture of a shape is drawn in."""
        return self._drawing(shape).tiles

    def _drawing(self, shape: tuple[int, ...]) -> Denoiser:
        return at_size(self.denoiser, shape, "image")
