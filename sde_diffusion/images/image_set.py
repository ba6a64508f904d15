"""A set of images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.images.blocks import blocks, each, taken

# Names of classes in a line.
SHOWN_NAMES = 10


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 [N, C, H, W], labels int64 [N] or None, and what they are called.

    Data for training may be vectors instead: ``images`` is then float32 [N, d], used as it is.
    ``class_names`` are those of labels 0, 1, ... where a data set finds them by itself. ``notes``
    say what was left out, or done to some, as it was read. ``labels_set``: the labels were set, as
    for samples of this package, and did not fall by chance, as in data.
    ``captions`` has a sentence of each image, or none at all; ``given`` what else each image is to
    be conditioned on, [N, ...] by name, zeros where an image has none of it, and ``legend`` what
    its numbers mean. ``made_of``: the fingerprint of what latents were made of; they may differ in
    their last bits where they are made again.
    """

    images: Tensor
    labels: Tensor | None
    classes: int
    name: str
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    given: Mapping[str, Tensor] = field(default_factory=dict)
    legend: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    made_of: str = ""
    labels_set: bool = False

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> ImageSet:
        labels = None if self.labels is None else self.labels[rows]
        captions = self.captions
        if captions:
            chosen = torch.arange(len(self))[rows].tolist()
            captions = tuple(captions[row] for row in chosen)
        conditions = {name: values[rows] for name, values in self.given.items()}
        return replace(
            self,
            images=taken(self.images, rows),
            labels=labels,
            captions=captions,
            given=conditions,
            made_of="",
        )

    @property
    def described(self) -> str:
        """``N images, C x H x W, K classes``, and the notes."""
        kind = "vectors" if self.images.is_floating_point() else "images"
        if self.made_of:
            kind = "latents"
        shape = " x ".join(map(str, self.images.shape[1:]))
        classes = "no labels" if self.labels is None else f"{self.classes} classes"
        if self.labels is not None and self.class_names:
            more = ", ..." if self.classes > SHOWN_NAMES else ""
            classes += f" ({', '.join(self.class_names[:SHOWN_NAMES])}{more})"
        return "; ".join([f"{len(self)} {kind}, {shape}, {classes}", *self.notes])

    def with_channels(self, channels: int, where: str, like: str) -> ImageSet:
        """Itself in ``channels`` channels: grey repeated, or one of three that are equal.

        InputError, which names ``where``, KEY=PATH, if that cannot be; ``like`` is what has them.
        """
        c = self.images.shape[1]
        if c == channels:
            return self
        if c == 1:
            return replace(self, images=each(self.images, lambda x: x.expand(-1, channels, -1, -1)))
        if channels == 1 and all(bool((x == x[:, :1]).all()) for x in blocks(self.images)):
            return replace(self, images=each(self.images, lambda x: x[:, :1]))
        raise InputError(
            f"{where}: {c} channels, and {like} has {channels}; give "
            + ("grey images" if channels == 1 else f"images of {channels} channels")
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape, pixels and what is given with them, first 16 hex digits: a cache key
        that a name is not."""
        if self.made_of:
            return self.made_of
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for part in blocks(self.images):
            digest.update(part.contiguous().numpy().data)
        for name, values in sorted(self.given.items()):
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def as_pictures(self) -> ImageSet:
        """Itself; InputError if it holds vectors, for which a task has no use."""
        if self.images.is_floating_point():
            raise InputError(f"data={self.name}: holds vectors; this task takes images")
        return self
