"""Scheduler configs: levels, predictions, and every key honoured or named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sde_diffusion.denoisers.convention import DiscreteTime, StraightPath
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.models.schedulers import FILE, SOLVERS, read_schedule
from sde_diffusion.process.sde import EDM
from sde_diffusion.process.timesteps import ByTimestep, FlowShift

F64 = torch.float64


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        ({"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}, 0.02917, 14.615),
        ({}, 0.0100, 157.41),
        ({"betas": "squaredcos"}, 0.00643, 20291),
    ],
)
def test_the_published_tables_have_their_ends(
    fields: dict[str, Any], low: float, high: float
) -> None:
    """Ends as measured of diffusers' tables, to the digits given."""
    table = Timesteps(**fields)
    assert table.sigma_min == pytest.approx(low, rel=5e-4)
    assert table.sigma_max == pytest.approx(high, rel=5e-4)


def test_numbers_and_levels_are_inverse() -> None:
    table = Timesteps()
    k = torch.tensor([0.0, 1.0, 3.7, 500.25, 998.5, 999.0], dtype=F64)
    assert torch.allclose(table.number(table.level(k)), k, atol=1e-6)
    assert torch.equal(table.level(torch.arange(1000)), table.sigmas)


@pytest.mark.parametrize("predicts", ["v", "x0"])
def test_the_limit_at_infinity_is_that_of_large_levels(predicts: str) -> None:
    p = DiscreteTime(predicts, zero_terminal_snr=True)
    far, limit = torch.tensor(1e9, dtype=F64), p.at_infinity()
    found = [float(far * p.c_skip(far)), float(p.c_out(far)), float(far * p.c_in(far))]
    assert found == pytest.approx(list(limit[:3]), abs=1e-8)
    assert limit.c_noise == 999


@pytest.mark.parametrize("from_data", [False, True])
def test_a_straight_path_at_infinity(from_data: bool) -> None:
    p = StraightPath(1000.0, from_data)
    far, limit = torch.tensor(1e9, dtype=F64), p.at_infinity()
    found = [float(c) for c in (far * p.c_skip(far), p.c_out(far), far * p.c_in(far))]
    assert found == pytest.approx(list(limit[:3]), abs=1e-8)
    assert float(p.c_noise(far)) == pytest.approx(limit.c_noise, abs=1e-5)


@pytest.mark.parametrize("rescaled", [False, True])
def test_levels_stand_on_the_host_where_a_network_is_built_without_memory(rescaled: bool) -> None:
    with torch.device("meta"):
        found = Timesteps(beta_end=0.0191, zero_terminal_snr=rescaled)  # of no other test: uncached
    assert found.sigmas.device.type == "cpu"
    assert bool((found.sigmas.diff() > 0).all())


def test_noise_says_nothing_of_an_image_at_zero_snr() -> None:
    with pytest.raises(InputError, match="predicts=epsilon"):
        DiscreteTime("epsilon", zero_terminal_snr=True)


@pytest.mark.parametrize(
    ("grid", "numbers"),
    [
        (ByTimestep(None, "leading", 1), [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]),
        (ByTimestep(None, "trailing"), [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
        (ByTimestep(None, "linspace"), [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]),
        (
            ByTimestep(None, "linspace", beyond=True),
            [999, 899, 799, 699, 599, 500, 400, 300, 200, 100],
        ),
    ],
)
def test_ten_numbers_as_diffusers_lays_them(grid: ByTimestep, numbers: list[int]) -> None:
    found = Timesteps().number(grid.levels(10)).round().long().tolist()
    assert found == numbers


def test_the_last_level_of_a_shifted_flow() -> None:
    """.008929 at 28 steps of shift 3, where the constructor's least is shifted once more."""
    level = float(FlowShift(3.0).levels(28)[-1])
    assert level / (1 + level) == pytest.approx(0.008929, abs=1e-6)


@pytest.mark.parametrize("grid", [ByTimestep(), FlowShift(3.0), FlowShift(2.0, lay="dpm")])
def test_a_grid_from_a_level_on_its_way_starts_there(grid: Any) -> None:
    times = grid.starting_at(0.5).times(EDM(), 5)
    assert float(times[0]) == pytest.approx(0.5, rel=0.02)
    assert bool((times.diff() < 0).all())
    assert len(times) == 6


KNOWN = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.42.1", "beta_schedule": "linear",
    "prediction_type": "v_prediction", "clip_sample": True, "thresholding": False,
    "sample_max_value": 1.0, "strange": 3,
}  # fmt: skip


def test_every_key_is_honoured_or_named() -> None:
    schedule = read_schedule(KNOWN)
    honoured = {f.key: f.honoured for f in schedule.findings}
    assert {key for key in KNOWN if not key.startswith("_")} <= set(honoured)
    assert [key for key, done in honoured.items() if not done] == ["clip_sample", "strange"]
    assert schedule.arguments["predicts"] == "v"


def test_a_flow_reaches_infinity() -> None:
    schedule = read_schedule({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})
    assert schedule.sigma_max == math.inf
    assert schedule.grid.from_infinity
    assert SOLVERS["FlowMatchEulerDiscrete"] == schedule.solver == "ddim"


# As they stand in public repositories; one is of a network that is told no number of a level.
PUBLIC = json.loads((Path(__file__).parent / "scheduler_configs.json").read_text())
CONTINUOUS = [config for config in PUBLIC if "timestep_type" in config]


@pytest.mark.parametrize("config", [c for c in PUBLIC if c not in CONTINUOUS])
def test_every_key_of_a_public_config_is_honoured_or_named(config: dict[str, Any]) -> None:
    assert len(PUBLIC) >= 20
    schedule = read_schedule(config)
    keys = {key for key in config if not key.startswith("_")}
    found = {finding.key: finding for finding in schedule.findings}
    assert keys <= set(found)
    assert all(finding.evidence for finding in found.values())
    named = {"clip_sample", "shift_terminal", "use_dynamic_shifting"}
    on = {key for key in named & keys if config[key]}
    assert all(not found[key].honoured for key in on)
    times = schedule.grid.times(EDM(), 7)
    assert bool((times.diff() < 0).all())


def test_a_network_told_the_logarithm_is_refused() -> None:
    (config,) = CONTINUOUS
    with pytest.raises(InputError, match="timestep_type=continuous"):
        read_schedule(config)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"_class_name": "SCMScheduler"}, "no denoiser"),
        ({"_class_name": "MyScheduler"}, "is not read"),
        ({"prediction_type": "banana"}, "prediction_type"),
        ({"prediction_type": None, "predict_epsilon": False}, "write prediction_type=sample"),
        ({"beta_start": "0.1"}, "beta_start"),
        ({"beta_start": math.nan}, "beta_start"),
        ({"num_train_timesteps": 10**12}, "timesteps"),
        ({"trained_betas": [0.1, 2.0]}, "do not rise"),
        ({"beta_schedule": "secret"}, "beta_schedule"),
        ({"timestep_spacing": "simple"}, "none of leading, trailing, linspace"),
        ({"set_alpha_to_one": "false"}, 'set_alpha_to_one="false": write true or false'),
        ({"num_train_timesteps": "1000"}, '="1000": write a whole number, such as 1000'),
        ({"_class_name": "EulerDiscreteScheduler", "final_sigmas_type": "none"}, "zero, sigma_min"),
        ({"prediction_type": "flow_prediction"}, "none of those of DDIMScheduler"),
        ({"_class_name": "DEISMultistepScheduler", "use_flow_sigmas": True}, "or use_flow_sigmas="),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 0}, f"{FILE}: shift=0.0"),
        ({"steps_offset": -1}, f"{FILE}: steps_offset=-1"),
        ({"rescale_betas_zero_snr": True, "prediction_type": None}, "write v_prediction or sample"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_schedule({**KNOWN, **change})
    assert "\n" not in str(caught.value)


def test_a_value_that_changes_nothing_is_not_named() -> None:
    """It stands in every file of DPM-Solver++, and each was said to be left undone."""
    config = {"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -math.inf}
    assert {f.key for f in read_schedule(config).findings if not f.honoured} == set()
    (left,) = (f for f in read_schedule({**config, "lambda_min_clipped": -5.1}).findings
               if not f.honoured)  # fmt: skip
    assert "grid=logsnr grid.sigma_max" in left.evidence


@pytest.mark.parametrize(
    ("name", "key"),
    [("DDPMScheduler", "clip_sample"), ("CMStochasticIterativeScheduler", "clip_denoised")],
)
def test_what_a_class_does_unasked_is_named_where_a_config_is_silent(name: str, key: str) -> None:
    """Old configs leave keys out, and diffusers clips then; nothing was said of it."""

    def undone(**more: Any) -> set[str]:
        read = read_schedule({"_class_name": name, **more})
        return {found.key for found in read.findings if not found.honoured}

    assert undone() == undone(**{key: True}) == {key}
    assert undone(**{key: False}) == undone(**{key: None}) == set()


def test_a_prediction_that_a_flow_does_not_look_at_is_named() -> None:
    name = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    for word, left in (("epsilon", ["prediction_type"]), ("flow_prediction", [])):
        read = read_schedule({**name, "prediction_type": word})
        assert [found.key for found in read.findings if not found.honoured] == left


@pytest.mark.parametrize("n", [4, 28])
def test_a_shift_of_the_size_is_taken_once(n: int) -> None:
    """t = 1 .. 1 / T evenly, then s t / (1 + (s - 1) t), s = e^mu; the least was shifted twice."""
    s, t = math.exp(0.8), torch.linspace(1, 1e-3, n, dtype=F64)
    levels = FlowShift(s, lay="once").levels(n)
    assert torch.allclose(1 / (1 + 1 / levels), s * t / (1 + (s - 1) * t), rtol=1e-12)
    assert not torch.allclose(levels[1:], FlowShift(s, lay="euler").levels(n)[1:], rtol=1e-2)


def test_an_end_at_the_least_level_that_is_not_walked_to_is_named() -> None:
    """DDIM's last evaluation at number 0 changes nothing then; here the walk ends at zero."""
    config = {**KNOWN, "clip_sample": False, "set_alpha_to_one": False, "strange": None}
    for offset, left in ((0, {"set_alpha_to_one"}), (1, set())):
        read = read_schedule({**config, "steps_offset": offset})
        assert {found.key for found in read.findings if not found.honoured} == left
