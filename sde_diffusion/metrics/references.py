"""Which reference a task judges by."""

from __future__ import annotations

from typing import Any

from sde_diffusion.data import load_held_out, load_images
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.cache import cached_reference
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.system.storage import asset


def judged_by(extractor: Extractor, reference: ReferenceSet) -> dict[str, Any]:
    """What a distance depends on beside the images that it judges."""
    return {
        "metric": extractor.metric,
        "extractor": extractor.name,
        "extractor_fingerprint": extractor.fingerprint,
        "reference": reference.name,
        "reference_fingerprint": reference.data_fingerprint,
        "reference_n": reference.stats.n,
        "held_out_fingerprint": reference.held_out_fingerprint,
    }


def reference_for(extractor: Extractor, reference: str | None) -> ReferenceSet:
    """The reference that ``reference`` names.

    null: the one shipped for the extractor; a reference file; or images (a folder, .zip, .npz, or
    a data set by name, whose test split is held out), whose statistics are cached by content.
    """
    if reference is not None and not reference.endswith(".safetensors"):
        images = load_images(reference, key="reference")
        return cached_reference(extractor, images, load_held_out(reference))
    path = asset(reference or f"{extractor.name}-reference")
    if reference is None and not path.is_file():
        raise InputError(
            f"reference: none is shipped for extractor {extractor.name}; give reference=FOLDER, "
            ".zip, .npz, a data set, or a file of 'sde-diffusion reference'"
        )
    return ReferenceSet.load(path, extractor)
