"""What a data set is to a config: where images come from, read when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.identity import Component
from sde_diffusion.system.notice import notice


class DataSource(Component, ABC, known_as="data"):
    """Images or vectors by a name and fields; one with a field ``split`` has a held-out part.

    Nothing is read before ``load``.
    """

    @abstractmethod
    def load(self) -> ImageSet:
        """All of it; InputError names the key ``data.FIELD`` that is wrong."""

    @final
    def read(self) -> ImageSet:
        """What ``load`` gives, after a line that says what it is and what was left out."""
        data = self.load()
        notice(f"data={data.name}: {data.described}")
        return data
