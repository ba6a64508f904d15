"""Which solvers the tests run: every yaml, with choices beside its defaults and wrong ones.

Names no solver class, so that the checks can be run again on changed source.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sde_diffusion.config import groups
from sde_diffusion.config.compose import plain
from sde_diffusion.config.groups import conf_dir
from tests.solvers import rules

# Those that need a measurement, a condition or a consistency function have tests of their own:
# tests/posterior, test_guided, test_consistency.
APART = sorted(
    p.stem
    for p in Path(conf_dir(), "solver").glob("*.yaml")
    if any(f"solvers.{room}." in p.read_text() for room in ("posterior", "guided", "distilled"))
)
NAMES = sorted({p.stem for p in Path(conf_dir(), "solver").glob("*.yaml")} - {*APART})
Case = tuple[str, ...]  # a name, and overrides

# Fields that a yaml leaves open (``???``), or whose default is made for a model.
FIXTURES: dict[str, list[str]] = {
    "calibrated": [f"solver.path={rules.path()}", "solver.allow_other_model=true"]
}

# Choices beside the defaults whose law or order is another.
VARIANTS: dict[str, list[str]] = {
    "adaptive_sde": ["eta=0.5"],
    "ancestral": ["eta=0.0", "eta=0.5"],
    "deis": ["order=1", "order=2"],
    "dpmpp_2m": ["lower_order_final=true"],
    "dpmpp_2m_sde": ["eta=0.0", "eta=0.5"],
    "dpmpp_3m": ["published=false", "lower_order_final=true"],
    "dpmpp_3m_sde": ["eta=0.0"],
    "er_sde": ["order=1", "order=2", "scale=ode", "scale=sde"],
    "euler_maruyama": ["eta=0.0", "eta=0.5"],
    "heun": ["s_churn=10", "s_churn=10 s_noise=1.1", "s_churn=10 s_tmin=0.1 s_tmax=5"],
    "ipndm": ["order=1", "order=2", "order=3"],
    "langevin": ["n_steps=3"],
    "lms": ["order=1", "order=3"],
    "predictor_corrector": ["predictor._target_=sde_diffusion.solvers.ddim.DDIM"],
    "renoise": ["eta=0.0", "eta=0.5", "inner._target_=sde_diffusion.solvers.ddim.DDIM"],
    "restart": ["repeats=[0]", "repeats=[1]"],
    "sa_solver": [
        "predictor=1", "predictor=2", "predictor=4", "corrector=0", "corrector=2", "tau=0.0",
        "lower_order_final=true", "predictor=1 corrector=3 tau=0.0",
        "predictor=3 corrector=0 tau=0.0",
    ],
    "seeds": ["order=1", "order=3", "prediction=noise"],
    "torchsde_adaptive": ["eta=0.5"],
    "torchsde": ["method=srk", "method=milstein", "eta=0.5"],
    "unipc": ["order=1", "order=3", "lower_order_final=true"],
}  # fmt: skip

# Fields that are refused by name at construction, the first of each by its name.
WRONG: dict[str, list[dict[str, Any]]] = {
    "adaptive_sde": [
        {"rtol": 0.0}, {"atol": 0.0}, {"eta": 0.0}, {"eta": -1.0}, {"eta": 4.5},
    ],
    "ancestral": [{"eta": 1.5}, {"eta": -0.1}],
    "deis": [{"order": 0}, {"order": 4}, {"beta_min": 0.0}, {"beta_min": 20.0}],
    "dopri": [
        {"error": 0.0}, {"error": 1.0}, {"rtol": 1e-3}, {"atol": 1e-3},
        {"rtol": 0.0, "atol": 1.0}, {"atol": 0.0, "rtol": 1.0},
    ],
    "dpmpp_2m_sde": [{"eta": -0.1}],
    "dpmpp_3m_sde": [{"eta": -0.1}],
    "er_sde": [{"order": 0}, {"order": 4}, {"scale": "sqrt"}],
    "euler_maruyama": [{"eta": -1.0}],
    "heun": [{"s_churn": -1.0}, {"s_noise": -0.5}, {"s_tmin": 3.0, "s_tmax": 2.0}],
    "ipndm": [{"order": 0}, {"order": 5}],
    "langevin": [{"snr": 0.0}, {"snr": -1.0}, {"n_steps": 0}, {"norm": "row"}],
    "lms": [{"order": 0}, {"order": 5}],
    "renoise": [{"eta": 1.5}, {"eta": -0.1}],
    "restart": [
        {"s_noise": 0.0}, {"rho": 0.0}, {"low": [0.5]}, {"low": [0.0]}, {"steps": [0]},
        {"repeats": [-1]}, {"low": [0.06, 0.06]},
        {"high": [0.3, 0.4], "low": [0.1, 0.2], "steps": [2, 2], "repeats": [1, 1]},
    ],
    "sa_solver": [
        {"predictor": 0}, {"predictor": 5}, {"corrector": 1}, {"corrector": 5}, {"tau": -1.0},
        {"tau_min": 1.0},
    ],
    "scipy": [{"rtol": 0.0}, {"rtol": 1e-15}, {"atol": -1.0}, {"atol": 0.0}, {"method": "rk45"}],
    "seeds": [{"order": 0}, {"order": 4}, {"prediction": "v"}],
    "torchsde": [{"method": "heun"}, {"eta": -1.0}],
    "torchsde_adaptive": [
        {"method": "heun"}, {"rtol": 0.0}, {"atol": 0.0}, {"eta": 0.0}, {"eta": -1.0},
    ],
    "unipc": [{"order": 0}, {"order": 4}],
}  # fmt: skip

CASES: list[Case] = [(name,) for name in NAMES]
CASES += [
    (name, *(f"solver.{word}" for word in option.split()))
    for name, options in VARIANTS.items()
    for option in options
]

# Choices with which a sample depends on its batch.
COUPLED: list[Case] = [
    ("langevin", "solver.norm=batch"), ("predictor_corrector", "solver.corrector.norm=batch"),
]  # fmt: skip

# Fixed steps, and no order: the law at any number of steps is not the process's.
ORDERLESS: list[Case] = [
    case
    for case in CASES
    if case[0] in ("calibrated", "langevin", "predictor_corrector") or "solver.s_noise=1.1" in case
]
ORDERLESS += [("restart",), ("restart", "solver.repeats=[1]")]


def title(case: Case) -> str:
    """A case as one word or two, for test names and tables."""
    return " ".join(word.removeprefix("solver.") for word in case)


@lru_cache
def compose(name: str, *overrides: str) -> tuple[Any, Any]:
    """The solver and grid nodes of ``solver=name``; no grid for one that has its own.

    Read without Hydra, which takes a hundred times as long and makes the same of these words.
    """
    words = [word.removeprefix("solver.") for word in (*FIXTURES.get(name, []), *overrides)]
    node = OmegaConf.merge(groups.node("solver", name), OmegaConf.from_dotlist(words))
    grid = groups.brings("solver", name).get("grid")
    return node, grid and OmegaConf.create(groups.node("grid", grid))


def fields(case: Case) -> dict[str, Any]:
    """The constructor's arguments of a case as plain values."""
    return {key: value for key, value in plain(compose(*case)[0]).items() if key != "_target_"}
