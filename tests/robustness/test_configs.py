"""A quick share of ``python -m tests.robustness``, and that its judge can find fault."""

from __future__ import annotations

import pytest

from sde_diffusion.errors import InputError
from tests.robustness import configs
from tests.robustness.configs import Config, drawn, outcome


@pytest.mark.parametrize("first", range(100_025, 100_075, 25))
def test_random_configs(first: int) -> None:
    """Finite images, or one line with a key and a remedy."""
    found = {seed: outcome(drawn(seed)) for seed in range(first, first + 25)}
    assert not {seed: said for seed, (kind, said) in found.items() if kind == "fault"}
    assert {"images", "refused"} == {kind for kind, _ in found.values()}


SMALL = Config((2,), "x0", 0, (0.002, 80.0), {"n": 2, "nfe": 4, "solver": "ddim"})


@pytest.mark.parametrize(
    "line",
    [
        "no key and no remedy",
        "solver.order=4: wrong",
        "solver.order=4: choose one of 1, 2, such as 9",
    ],
)
def test_a_bad_refusal_is_a_fault(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise InputError(line)

    options = {"solver": {"unipc": {"order": 4}}}
    monkeypatch.setattr(configs, "wrap", lambda *_, **__: type("M", (), {"sample": refusing})())
    assert outcome(Config((2,), "x0", 0, (0.002, 80.0), options))[0] == "fault"


def test_a_traceback_and_an_image_that_is_none_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(SMALL) == ("images", "")
    monkeypatch.setattr(configs, "answer", lambda config: lambda x, sigma: 1 / 0)
    kind, said = outcome(SMALL)
    assert kind == "fault"
    assert said.startswith("ZeroDivisionError")
