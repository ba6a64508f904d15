"""What a data set is to a config: where images come from, read when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.identity import Component


class DataSource(Component, ABC):
    """Images or vectors by a name and fields; one with a field ``split`` has a held-out part.

    Nothing is read before ``load``.
    """

    @abstractmethod
    def load(self) -> ImageSet:
        """All of it in memory; InputError names the key ``data.FIELD`` that is wrong."""
