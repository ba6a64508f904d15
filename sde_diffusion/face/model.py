"""A model and all that can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sde_diffusion.config import samplers
from sde_diffusion.config.options import Options, default_grid
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.execution import placed, run_of
from sde_diffusion.face.guides import guides_of
from sde_diffusion.face.keywords import keywords
from sde_diffusion.face.starts import start_of
from sde_diffusion.guidance import guided
from sde_diffusion.models.export import save_model
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.grids import VPTime
from sde_diffusion.process.sde import Marginal
from sde_diffusion.sampling.encode import SIGMA_MAX, SIGMA_MIN, ProbabilityFlow
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.solvers.unipc import UniPC

if TYPE_CHECKING:  # what these bring along takes a second to import
    from sde_diffusion.face.analyse import Analysis
    from sde_diffusion.face.likelihood import BitsPerDim
    from sde_diffusion.sampling.edit import Edited
    from sde_diffusion.solvers.calibrated.solver import Calibrated

GROUPS = ("solver", "sde", "grid", "guidance", "noise")
IMAGES = "images [N, C, H, W], uint8 or floats in -1 .. 1"


@dataclass(frozen=True, repr=False)
class Model(OpenedModel):
    """A denoiser with its conditions and its codec, ready to be sampled, measured and calibrated.

    ``load`` opens one, ``wrap`` makes one of a callable.

    Attributes:
        denoiser: D(x, sigma, cond). name, fingerprint: where it came from, a digest of its files.
        conditioner, codec: make conditions of what a user says, and pictures of states.
        findings: what it was taken for. grid: that of its files. spec: of its network, if any.
    """

    @keywords(*GROUPS)
    def sampler(
        self,
        solver: Any = None,
        sde: Any = "edm",
        grid: Any = None,
        guidance: Any = (),
        noise: Any = "seeds",
        *,
        sampler: str | None = None,
        denoise_last: bool = False,
        **options: Any,
    ) -> Sampler:
        """A sampler of components: objects, or names of ``conf/``.

        Args:
            solver, sde, noise: one of each: ``UniPC(order=3)``, ``"unipc"``, or
                ``{"unipc": {"order": 3}}``; no solver is ``"unipc"``.
            sampler: solver and grid in one, by the name that other programs have for them,
                ``"DPM++ 2M Karras"``; such a name may stand in the place of ``solver`` too.
            grid: likewise, or a list of noise levels; None is the one that the model brings, or
                else the one that goes with the solver.
            guidance: one or several, the first one innermost.
            denoise_last: one more denoising at the last noise level, counted.
            options: fields of what is given by name: ``solver__order=3``,
                ``guidance__cfg__scale=2``.
        """
        preset = samplers.chosen(solver, grid, sampler)
        fields = Options.of(options, GROUPS).beside(preset)
        solver, grid = "unipc" if preset.solver is None else preset.solver, preset.grid
        integrator = fields.one("solver", solver)
        if integrator.grid is not None and (grid is not None or "grid" in fields.fields):
            raise InputError(
                f"grid: {type(integrator).__name__} has a grid of its own, so it would change "
                "nothing; leave it out"
            )
        usual = default_grid(solver) if self.grid is None else self.grid
        chosen = usual if grid is None else values.levels_as_grid(grid)
        return Sampler.build(
            fields.one("sde", sde),
            guided(self.denoiser, guides_of(fields, guidance)),
            integrator,
            None if chosen is None else fields.one("grid", chosen),
            fields.one("noise", noise),
            values.truth("denoise_last", denoise_last),
            self.grid,
        ).decoded_by(self.codec)

    @keywords(*GROUPS, also=(sampler,))
    def sample(
        self,
        n: int | None = None,
        nfe: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        seed: int | None = None,
        label: Any = None,
        prompt: Any = None,
        negative: Any = None,
        size: Any = None,
        embedded_guidance: Any = None,
        layout: Any = None,
        reference: Any = None,
        x_T: Any = None,
        start: Any = None,
        strength: float | None = None,
        batch_size: int = 128,
        dtype: torch.dtype | str = torch.float32,
        device: torch.device | str = "cpu",
        trajectory: bool = False,
        progress: bool = False,
        callback: Callable[[Marginal, Tensor], None] | None = None,
        **options: Any,
    ) -> Samples:
        """One image a seed. Image k is a function of its seed, whatever its batch.

        Args:
            n: images of seeds ``seed`` (0), ``seed`` + 1, ...; 16, or one a row of ``x_T``.
            nfe: network evaluations a sample; None: what a list of levels makes of it, else 20
                calls of a fixed-step solver's denoiser, and what an adaptive one takes.
            seeds: whole numbers 0 .. 2^64 - 1, one an image.
            label: a class by number or name, one for each image, ``"all"`` (seed mod classes), or
                None for no condition.
            prompt: a sentence, or one for each image, of a model that reads them. negative: what
                guidance leads away from. layout, reference: pictures, see ``conditions``.
            size: (height, width) of the pictures, or one number for both; None: the model's.
            embedded_guidance: that a model distilled with one is told, 3.5 where it is not said.
            x_T: noise of one's own [N, *shape], about N(0, I), in place of that of the seeds.
            start: where sampling begins: a picture, or one an image, with noise of ``strength``
                (0.6; 1 is noise alone); or an object, ``FromImage(x_0, level=2.0)``; None is the
                prior.
            batch_size: rows at once. dtype: float32 or float64, of the state; the network keeps
                its own. device: where both live.
            trajectory: keep the states and the denoiser's calls, for ``save_animation``.
            progress: draw a bar.
            callback: hears (marginal, x_t [n, *shape]) at the start and after each step.
            options: as for ``sampler``.
        """
        model = self
        if size is not None:
            sides = list(size) if values.is_several(size) else [size, size]
            model = self.sized([values.whole("size", side, 1) for side in sides])
        sampler = model.sampler(**options)
        if negative is not None and not sampler.asks_empty:
            raise InputError(
                f'negative={negative}: nothing leads away from it; give guidance="cfg"'
            )
        chosen = values.chosen_seeds(n, seeds, seed, values.rows_of(x_T) or 16)
        where = placed(model, device)
        asked = None if nfe is None else values.whole("nfe", nfe, 1)
        begin = start_of(model, sampler, x_T, start, strength, chosen)
        request = Request(
            chosen,
            sampler.budget(asked, begin),
            self.condition(
                {
                    "label": label,
                    "prompt": prompt,
                    "negative": negative,
                    "embedded_guidance": embedded_guidance,
                    "layout": layout,
                    "reference": reference,
                },
                chosen,
                sampler.denoiser.classes_of_guidance,
            ),
            begin,
        ).distinct()
        run = Execution(values.whole("batch_size", batch_size, 1), values.state_dtype(dtype), where)
        kept = values.truth("trajectory", trajectory)
        bar = "sample" if values.truth("progress", progress) else None
        hearer = values.hearer("callback", callback, "a marginal", "x_t")
        watch = Watch(kept, len(chosen) * kept, bar, None, hearer)
        sampler.tell_idle(request)
        return sampler.sample(request, run, watch)

    def edit(
        self,
        image: Any,
        mask: Any = None,
        operator: Any = None,
        method: str | None = None,
        n: int | None = None,
        nfe: int | None = None,
        **options: Any,
    ) -> Edited:
        """Samples of a picture of which something is known, in place of ``sde-diffusion edit``.

        ``model.edit("photo.png", mask="hole.png").mean``; ``.images``, ``.std``, ``.misfit``, and
        ``save(folder)``.

        Args:
            image: a path, or a tensor or array [C, H, W] or [H, W], uint8 or floats in -1 .. 1; or
                what the operator measured.
            mask: a path, or an array [H, W]: white, or true, is drawn anew, all else is kept.
            operator: what was measured, an object, a name, or a function of states [N, *shape];
                None: that of the solver or guidance if objects were given, else the mask's.
            method: a name, ``"ddrm"`` where no solver and no guidance is given; of a mask without
                noise ``"repaint"``, if neither is nfe.
            n: samples, of seeds 0, 1, ...; 4. nfe: network evaluations a sample; None: 20 calls,
                of a method that makes several a step 20 steps (80 of ``"repaint"``).
            options: any of

                - extend: [top, right, bottom, left] pixels to be drawn around the picture;
                - simulate (False): the picture is the truth, and is measured first;
                - strength (1): below it, begin at the picture with so much noise;
                - seeds, seed, label, prompt, negative, batch_size, dtype, device: as ``sample``;
                - solver, sampler, sde, grid, guidance, noise and fields of all groups: as for
                  ``sampler``, ``operator__noise=0.05``.
        """
        from sde_diffusion.face.edit import edit

        return edit(self, image, mask, operator, method, n=n, nfe=nfe, **options)

    @keywords("guidance")
    def save(self, path: str | Path, format: str = "safetensors") -> None:
        """Write the model: it opens from there to the last bit.

        Args:
            path: a new file .safetensors, or of ``diffusers`` a new folder.
            format: ``safetensors``, or ``diffusers`` where its network is of diffusers.
        """
        save_model(self, values.place("path", path), format, "path")

    def flow(
        self,
        error: float = 1e-3,
        guidance: Any = (),
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        **options: Any,
    ) -> ProbabilityFlow:
        """The map between images and latents, to a requested ``error``.

        Args:
            error: RMS error a pixel. guidance: as for ``sampler``.
            sigma_min, sigma_max: noise level taken for an image's, and of the latents.
            options: fields of guidance by name: ``guidance__cfg__scale=2``.
        """
        guides = guides_of(Options.of(options, ("guidance",)), guidance)
        low, high = (
            None if level is None else values.number(key, level)
            for key, level in (("sigma_min", sigma_min), ("sigma_max", sigma_max))
        )
        asked = values.number("error", error)
        return ProbabilityFlow.build(guided(self.denoiser, guides), asked, low, high)

    @keywords("guidance", also=(flow, Execution))
    def encode(self, images: Any, label: Any = None, **options: Any) -> Tensor:
        """Images [N, C, H, W], uint8 or -1 .. 1 -> latents float64 [N, *shape], about N(0, I).

        Args:
            images: a tensor or array. label: as for ``sample``; ``"all"`` is 0, 1, ... in turn.
            options: ``batch_size``, ``device``, and as for ``flow``.
        """
        x = values.pixels("images", images, IMAGES)
        run, wishes, others = run_of(self, label, options)
        states = self.codec.encode(x).to(run.device, torch.float64)
        cond = self.condition(wishes, range(len(states)))
        return self.flow(**others).encode(states, cond, run.batch_size).cpu()

    @keywords("guidance", also=(flow, Execution))
    def decode(self, latents: Any, label: Any = None, **options: Any) -> Tensor:
        """Latents [N, *shape] -> images float64 [N, C, H, W], the inverse of ``encode``.

        Args:
            latents: a tensor or array. label, options: as for ``encode``.
        """
        run, wishes, others = run_of(self, label, options)
        z = values.tensor("latents", latents, "latents [N, *shape]").to(run.device, torch.float64)
        self.denoiser.space.check(z.shape[1:], "latents")
        cond = self.condition(wishes, range(len(z)))
        return self.codec.decode(self.flow(**others).decode(z, cond, run.batch_size).cpu())

    @keywords("guidance", also=(flow, Execution))
    def interpolate(
        self, a: Any, b: Any, steps: int = 8, label: Any = None, **options: Any
    ) -> Tensor:
        """Images between a and b [N, C, H, W], ends included: float64 [N, steps, C, H, W].

        Args:
            a, b: tensors or arrays. steps: images from end to end. label, options: as for
                ``encode``.
        """
        ends = [values.pixels(key, x, IMAGES) for key, x in (("a", a), ("b", b))]
        run, wishes, others = run_of(self, label, options)
        left, right = (self.codec.encode(x).to(run.device, torch.float64) for x in ends)
        cond = self.condition(wishes, range(len(left)))
        count = values.whole("steps", steps, 2)
        x = self.flow(**others).interpolate(left, right, count, cond, run.batch_size).cpu()
        return self.codec.decode(x.flatten(0, 1)).unflatten(0, (-1, count))

    def calibrate(
        self, nfe: Any = (4, 5, 6, 8, 10), label: Any = "all", **options: Any
    ) -> Calibrated:
        """A solver with a rule for each NFE, fitted to this model without back-propagation.

        ``model.sample(solver=model.calibrate(nfe=[4, 6]), nfe=4, label="all")``. Its ``errors``
        are those of each rule on held-out noises beside the best standard solver's;
        ``save(path)`` keeps it for ``Calibrated(path)``. A rule made with labels is used with
        labels.

        Args:
            nfe: network evaluations a sample of each rule; a guided call costs two.
            label: of the noises: a class, ``"all"`` (seed mod classes), one a noise, or None.
            options: any of

                - prompt, negative: sentences of the noises, of a model that reads them;
                - guidance: that it will be used with, and its fields, ``guidance__cfg__scale=2``;
                - mode: ``"per_mode"``: the last step has coefficients for each band of modes;
                - modes (64): components of the images' normal law, at most: the size of the file;
                - noises (128), held_out (64): noises fitted to, and those that choose between fits;
                - tries (60), budget (30): greedy fits of the search for a grid; evaluations a noise
                  of the joint fit, for each evaluation of the rule;
                - nodes (64): evaluations a noise of the converged reference;
                - twin, data: Gaussians for each class of these images, to fit to in the network's
                  place;
                - seed (1000000): of the first noise; keep them apart from those you judge with;
                - sigma_min, sigma_max: ends of all rules; None: those of the grid that the model
                  brings, or else 0.002 and 80, or the model's;
                - batch_size (128): rows at once; device: of the model; progress (True): draw bars;
                - folder: keeps what is finished; the same call goes on from there.
        """
        from sde_diffusion.face.calibrate import calibrate

        return calibrate(self, nfe, label, **options)

    def likelihood(self, images: Any, label: Any = "all", **options: Any) -> BitsPerDim:
        """Bits a dimension of images by the probability flow of this model, a row an image.

        Args:
            images: a tensor or array [N, C, H, W] (uint8, or floats in -1 .. 1), a folder, .zip or
                .npz, or a data set, of grey levels dequantised by the noise of their seeds.
            label: ``"all"`` is each image's own, a class, one an image, or None.
            options: any of

                - moments_of: images, the training split, say, whose mean m and covariance S the
                  prior N(m, S + sigma_max^2 I) has; None: N(0, sigma_max^2 I);
                - sde, guidance: as for ``sampler``, and their fields by name;
                - sigma_min, sigma_max: noise levels of image and prior; None: the model's;
                - error (0.01): requested, in bits a dimension, that of the probes left aside;
                - probes (4): Rademacher vectors an image; None: the exact trace, a product a pixel;
                - seed (0): of the first image, for its dequantisation and its probes;
                - batch_size (64): rows at once; device: of the model; progress (False): draw a bar.
        """
        from sde_diffusion.face.likelihood import likelihood

        return likelihood(self, images, label, **options)

    def analyse(
        self, nfe: Any = (4, 5, 6, 8, 10), n: int = 500, label: Any = "all", **options: Any
    ) -> Analysis:
        """Which solver on which grid suits what this model draws, by the Gaussian of its images.

        They are drawn with UniPC of order 3 at 32 evaluations of the denoiser, from seed 0 on.

        Args:
            nfe: numbers of network evaluations a sample. n, label: of the images, as for
                ``sample``; directions that fewer than d images do not span count as constant.
            options: as for the function ``analyse``; ends of the grids are the model's.
        """
        from sde_diffusion.face.analyse import analyse

        low, high = max(SIGMA_MIN, self.denoiser.sigma_min), min(SIGMA_MAX, self.denoiser.sigma_max)
        ends = {"sigma_min": low, "sigma_max": high}
        drawn = self.sample(n, 32, solver=UniPC(order=3), grid=VPTime(**ends), label=label)
        return analyse(drawn, nfe, **{**ends, **options})

    def __repr__(self) -> str:
        denoiser = self.denoiser
        classes = f", {self.classes} classes" if self.classes else ""
        sides = " x ".join("any" if side is None else str(side) for side in denoiser.space.pattern)
        return (
            f"Model({self.name}: {sides} {denoiser.space.kind.value}{classes}; conditions: "
            f"{self.takes}; noise levels {denoiser.sigma_min:g} .. {denoiser.sigma_max:g})"
        )
