"""Networks and samplers of other authors beside ours, by the cases of ``tests/models/foreign``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import page

sys.path.insert(0, str(page.HERE.parent))
from tests.models import test_diffusers as diffusers
from tests.models.foreign import test_adm as adm
from tests.models.foreign import test_dit as dit
from tests.models.foreign import test_edm as edm
from tests.models.foreign import test_samplers as samplers
from tests.models.foreign import test_score_sde as score_sde

FILES = {
    "edm_ddpmpp": "EDM .pkl, SongUNet DDPM++", "edm_ncsnpp": "EDM .pkl, SongUNet NCSN++",
    "edm_skip": "EDM .pkl, SongUNet with skip inputs and outputs",
    "edm_adm": "EDM .pkl, DhariwalUNet", "edm_vp": "EDM .pkl, VPPrecond",
    "edm_iddpm": "EDM .pkl, iDDPMPrecond", "edm2": "EDM2 .pkl",
    "score_vp": "score_sde .pth, VP", "score_subvp": "score_sde .pth, sub-VP",
    "score_ve": "score_sde .pth, VE", "adm_legacy": "ADM .pt, legacy attention",
    "adm_new": "ADM .pt, new attention order", "adm_plain": "ADM .pt, without scale and shift",
    "dit": "DiT .pt", "sit": "SiT .pt",
}  # fmt: skip


def networks() -> Iterator[tuple[str, float]]:
    """Format, and the largest relative difference to the foreign network."""
    for name, said in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            if name.startswith("edm"):
                yield said, edm.gap(name)
            elif name.startswith("score"):
                yield said, score_sde.gap(path, name)
            elif name.startswith("adm"):
                yield said, adm.gaps(path, name)[0]
            else:
                yield said, dit.gap(name)
    for name in diffusers.NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            yield f"diffusers' folder, {name}", diffusers.gap(name, Path(folder))


def authors() -> Iterator[tuple[str, float]]:
    """Sampler of the authors, and the relative difference of what it draws."""
    yield "EDM, Heun", edm.heun_gap()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        yield "EDM, Heun with churn", samplers.churn_gap(path)
        yield "score_sde, predictor-corrector, VE", samplers.corrector_gap(path)
        for family in ("vp", "subvp", "ve"):
            yield f"score_sde, ODE, {family}", samplers.flow_gap(path, family)
        for name in adm.GIVEN:
            yield f"ADM, DDIM, {FILES[name].removeprefix('ADM .pt, ')}", adm.gaps(path, name)[1]
