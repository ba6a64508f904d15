"""A predictor-corrector pair walks the grid of its predictor, and serves whom it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.solvers.calibrated.solver import Calibrated
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.wrappers.predictor_corrector import PredictorCorrector
from tests.solvers.test_calibrated import VARIANCE, written


def test_a_corrector_around_it_asks_for_the_same(tmp_path: Path) -> None:
    """The predictor's grid, model and condition are those of the pair."""
    inner = Calibrated(written(tmp_path / "a", conditional=True))
    both = PredictorCorrector(inner, Langevin())
    assert both.grid is inner.grid
    assert both.content == inner.content != ""
    with pytest.raises(InputError, match="made for model"):
        both.check(GaussianDenoiser(VARIANCE))
    with pytest.raises(InputError, match="label=all"):
        both.check_condition(None)
