"""A quick share of ``python -m tests.robustness``, and that its judge can find fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import find, given
from torch import Tensor

from sde_diffusion.errors import InputError
from tests.robustness import configs
from tests.robustness.configs import Config, drawn, outcome
from tests.robustness.draws import Draws, cases, quick

T = TypeVar("T")


class Least(Draws):
    """The first choice, always, and nothing several times."""

    def below(self, n: int) -> int:
        return 0

    def several(self, most: int, make: Callable[[Draws], T]) -> list[T]:
        return []


SMALL = drawn(Least())


def test_random_configs() -> None:
    """Finite images, or one line with a key and a remedy."""
    kinds = set()

    @quick(50)
    @given(cases(drawn))
    def hold(config: Config) -> None:
        kind, said = outcome(config)
        kinds.add(kind)
        assert kind != "fault", said

    hold()
    assert kinds == {"images", "refused"}


def test_a_config_that_fails_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that fails at three rows or more: three rows, and nothing else that is unusual."""

    def failing(config: Config) -> Callable[..., Tensor]:
        def model(x: Tensor, sigma: Tensor, *label: Tensor) -> Tensor:
            if len(x) >= 3:
                raise ZeroDivisionError
            return x * 0

        return model

    monkeypatch.setattr(configs, "answer", failing)
    found = find(cases(drawn), lambda config: outcome(config)[0] == "fault", settings=quick(200))
    rows = {**SMALL.options, "n": 3}
    assert found == Config((2,), "x0", 0, (0.002, 80.0), rows)


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
