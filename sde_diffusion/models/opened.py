"""A model as a source opens it: a denoiser, what makes its conditions, and its codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from sde_diffusion.codecs import PIXELS, Codec
from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.labels import ALL, Labels
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.precision import recorded
from sde_diffusion.denoisers.sized import Sized, at_size, latent_shape
from sde_diffusion.denoisers.space import Kind
from sde_diffusion.errors import InputError
from sde_diffusion.models.spec import Spec
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.notice import once

MOST = 8192  # of a side


@dataclass(frozen=True)
class Finding:
    """One thing that a source read off a file of somebody else's.

    Attributes:
        key, value: what it is about, and what it is taken to be: ``prediction``, ``epsilon``.
        evidence: what in the file says so.
        honoured: whether sampling here does it; what is not is named to the user.
    """

    key: str
    value: str
    evidence: str
    honoured: bool = True


def name_left_out(path: Path, findings: Sequence[Finding]) -> None:
    """A line that names what a file says and sampling here does not do."""
    left = [f"{each.key}={each.value}" for each in findings if not each.honoured]
    if left:
        once(
            f"{path.name}: not done unless asked for: {', '.join(left)} ('sde-diffusion inspect' "
            "says what to give)"
        )


@dataclass(frozen=True)
class OpenedModel:
    """What all figures of a model are recorded under.

    Attributes:
        denoiser: D(x, sigma, cond).
        name, fingerprint: where it came from, and a digest of the content of its files.
        conditioner: makes conditions of what a user says.
        codec: makes pictures of states.
        findings: what the source took the model to be, and on what evidence.
        grid: the levels that its files name, in the place of a solver's usual grid.
        spec: from which it is rebuilt with its weights; None of a callable.
    """

    denoiser: Denoiser
    name: str
    fingerprint: str = ""
    conditioner: Conditioner = field(default_factory=lambda: Labels(0))
    codec: Codec = PIXELS
    findings: tuple[Finding, ...] = ()
    grid: TimeGrid | None = None
    spec: Spec | None = None

    @property
    def classes(self) -> int:
        """How many labels it knows, 0 if none."""
        return self.conditioner.classes

    @property
    def takes(self) -> str:
        """What it may be conditioned on, the words of a wish: ``prompt, layout``; ``none``."""
        return ", ".join(self.conditioner.words) or "none"

    @property
    def arithmetic(self) -> str:
        """How the network works, for a record: the precision, or the dtype of its weights."""
        weights = next(self.denoiser.parameters(), None)
        dtype = "float32" if weights is None else str(weights.dtype).removeprefix("torch.")
        precision = recorded(self.denoiser.precision)
        if dtype == "float32":
            return precision
        return dtype if precision == "float32" else f"{precision}, {dtype} weights"

    def sized(self, size: Sequence[int] | None, seamless: bool = False, key: str = "size") -> Self:
        """The same model of pictures of another size, or on a torus.

        Larger pictures are drawn by the network as it is, where it is of convolutions alone, else
        in tiles that overlap.

        Args:
            size: (height, width); None: its own. seamless: left and right edge, top and bottom go
                together. key: what a refusal calls the size.
        """
        denoiser = self.denoiser.seamless() if seamless else self.denoiser
        if size is not None and denoiser.space.kind is Kind.LATENTS:
            shape = latent_shape(denoiser.space, self.codec.factor, size, key)
            denoiser = Sized(denoiser, replace(denoiser.space, usual=shape))
        elif size is not None:
            if len(size) != 2 or any(type(n) is not int or not 1 <= n <= MOST for n in size):
                raise InputError(f"{key}={list(size)}: give [HEIGHT,WIDTH], each 1 to {MOST}")
            denoiser = at_size(denoiser, (denoiser.space.pattern[0] or 1, *size), key)
            if denoiser.tiles > 1:
                tile = " x ".join(map(str, self.denoiser.shape[1:]))
                once(
                    f"{key}={list(size)}: drawn in {denoiser.tiles} tiles of {tile}, the size that "
                    "the model knows: what lies farther apart is not made to agree"
                )
        return replace(self, denoiser=denoiser)

    @property
    def channels(self) -> int:
        """Of its pictures."""
        return self.codec.channels or self.denoiser.space.pattern[0] or 1

    def condition(
        self, wishes: Mapping[str, Any], seeds: Sequence[int], classes: int = 0
    ) -> Condition | None:
        """The condition of a batch; InputError for a wish that the model does not understand.

        Args:
            wishes: by word, ``{"label": 7}``; None is no wish.
            seeds: one a row.
            classes: labels that guidance knows, of use where the model itself takes no wishes.
        """
        if classes and not self.conditioner.words:
            return Labels(classes, model=self.name).encode(wishes, seeds)
        for word, value in wishes.items():
            all_labels = word == LABEL and isinstance(value, str) and value == ALL
            if value is not None and not all_labels:
                self.check_takes(word, value, word)
        return self.conditioner.encode(wishes, seeds)

    def check_takes(self, word: str, value: Any, key: str) -> None:
        """InputError if the model does not understand a wish, which ``key`` gave it."""
        if word not in self.conditioner.words:
            raise InputError(
                f"{key}={shown(value)}: model {self.name} takes no {word} (it takes: "
                f"{self.takes}); leave it out, {key}=null"
            )
