"""Image data sets of the Hugging Face Hub by name, by the optional package ``datasets``."""

from __future__ import annotations

from typing import Any

import torch

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.captions import checked
from sde_diffusion.data.folder import Reading, on_error_choice
from sde_diffusion.errors import InputError
from sde_diffusion.images.decode import Picture, fit_choice, picture, size_choice
from sde_diffusion.images.image_set import ImageSet

# Bytes that its files have: it keeps them where it likes.
UNKNOWN = 2**40
EXTRA = "pip install 'sde_diffusion[datasets]'"


class HuggingFace(DataSource):
    """Images uint8 [N, C, H, W] of one split, with labels if ``label`` names a column of classes.

    Args:
        name: of the data set, or the path of a local one: ``uoft-cs/cifar10``, say.
        config: which of its configurations; null: the default.
        split: ``train``, or whatever its splits are called; ``test`` stands for ``held_out``.
        held_out: what the data set calls its held-out split: ``validation``, say.
        image, label, captions: names of the columns; a null ``label`` or ``captions`` is left out.
        size: resize to size x size with PIL's antialiased Lanczos filter; null: all images must
            have one size.
        grey: one channel in place of three.
        on_error: ``refuse`` a broken image, or ``skip`` it; either names its row.
        fit: of images that are not square, to ``size``: ``squash``, ``crop`` or ``pad``.
    """

    def __init__(
        self,
        name: str,
        config: str | None = None,
        split: str = "train",
        held_out: str = "test",
        image: str = "image",
        label: str | None = "label",
        size: int | None = None,
        grey: bool = False,
        on_error: str = "refuse",
        fit: str = "squash",
        captions: str | None = None,
    ) -> None:
        self.captions = captions
        on_error_choice(on_error)
        size_choice(size)
        fit_choice(fit, size)
        self.name, self.config, self.image, self.label = name, config, image, label
        self.split = held_out if split == "test" else split
        self.size, self.grey, self.on_error, self.fit = size, grey, on_error, fit

    def load(self) -> ImageSet:
        rows = _opened(self.name, self.config, self.split, f"data.name={self.name}")
        for key, column in (
            ("image", self.image),
            ("label", self.label),
            ("captions", self.captions),
        ):
            if column is not None and column not in rows.column_names:
                raise InputError(
                    f"data.{key}={column}: {self.name} has the columns {rows.column_names}"
                )
        reading = self._pictures(rows)
        images, kept, notes = reading.images(), reading.kept, tuple(reading.notes())
        texts = self._captions(rows, kept)
        shown = f"{self.name.rsplit('/', 1)[-1]}-{self.split}"
        if self.label is None:
            return ImageSet(images, None, 0, shown, notes=notes, captions=texts)
        values = list(rows[self.label])
        if not all(type(value) is int and value >= 0 for value in values):
            raise InputError(
                f"data.label={self.label}: not a column of classes; give another, or null"
            )
        names = getattr(rows.features[self.label], "names", None)
        classes = len(names) if names else max(values) + 1
        labels = torch.tensor(values)[kept]
        return ImageSet(images, labels, classes, shown, notes=notes, captions=texts)

    def _captions(self, rows: Any, kept: list[int]) -> tuple[str, ...]:
        """The texts of the column ``captions``, of several of an image the first."""
        if self.captions is None:
            return ()
        column, texts = list(rows[self.captions]), []
        for k in kept:
            text = column[k][0] if isinstance(column[k], list) and column[k] else column[k]
            where = f"data.captions={self.captions}: row {k} of {self.split}"
            if not isinstance(text, str):
                raise InputError(f"{where} is no text; give a column of sentences, or null")
            texts.append(checked(text, where))
        return tuple(texts)

    def _pictures(self, rows: Any) -> Reading:
        """The images of all rows that are whole."""
        reading = Reading(f"data.name={self.name}", len(rows), UNKNOWN, self.on_error)
        # Column by column: what is not asked for is not decoded.
        pictures = rows.select_columns([self.image])

        def read(k: int) -> Picture:
            shown = pictures[k][self.image]
            if shown is None:
                raise ValueError("no image")
            return picture(shown, self.size, "L" if self.grey else "RGB", self.fit)

        for k in range(len(rows)):
            reading.take(f"row {k} of {self.split}", lambda k=k: read(k))  # type: ignore[misc]
        return reading


def _opened(name: str, config: str | None, split: str, where: str) -> Any:
    """The table of one split; InputError in one line, whatever the package says."""
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"data=huggingface: needs the package datasets; {EXTRA}") from error
    try:
        return datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError) as error:  # not found, not reached, no such split
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: split {split}: {reason}; see data.config, .held_out") from error
