"""The contract of a callable: what it is given, what it may answer, what it may do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion import wrap
from sde_diffusion.errors import InputError
from tests.refusals import refused

SHAPE = (1, 4, 4)
SOLVERS: list[tuple[str, int | None]] = [
    ("unipc", 8), ("heun", 8), ("euler_maruyama", 8), ("dopri", None), ("adaptive_sde", None),
    ("scipy", None), ("torchsde_adaptive", None),
]  # fmt: skip


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, I)."""
    return x / (1 + sigma**2)


def column(sigma: Tensor) -> Tensor:
    return sigma[:, None, None, None]


def drawn(
    model: Callable[..., Any], solver: str = "unipc", nfe: int | None = 8, **more: Any
) -> Tensor:
    return wrap(model, shape=SHAPE, **more).sample(n=4, nfe=nfe, solver=solver).x


@pytest.mark.parametrize(("solver", "nfe"), SOLVERS)
def test_every_solver_gives_one_level_a_row_in_the_dtype_of_x(solver: str, nfe: int | None) -> None:
    seen = set()

    def look(x: Tensor, sigma: Tensor) -> Tensor:
        seen.add((len(sigma) == len(x), sigma.ndim, sigma.dtype is x.dtype))
        return x / (1 + column(sigma) ** 2)

    x = drawn(look, solver, nfe)
    assert seen == {(True, 1, True)}
    assert torch.equal(x, drawn(gaussian, solver, nfe))  # a row's own level, whatever N is


@pytest.mark.parametrize(("solver", "nfe"), SOLVERS)
def test_work_in_place_does_no_harm(solver: str, nfe: int | None) -> None:
    def in_place(x: Tensor, sigma: Tensor) -> Tensor:
        return x.div_(1 + column(sigma) ** 2)

    assert torch.equal(drawn(in_place, solver, nfe), drawn(gaussian, solver, nfe))


# x / (1 + sigma^2) in the words of others; after some of them a level was a plain [N] again, which
# for four rows of four columns stands for the columns.
SAID: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clone": lambda x, s: x / (1 + s.clone() ** 2),
    "detach": lambda x, s: x / (1 + s.detach() ** 2),
    "type_as": lambda x, s: x / (1 + s.type_as(x) ** 2),
    "to": lambda x, s: x / (1 + s.to(x) ** 2),
    "expand": lambda x, s: x / (1 + s.expand(len(x)) ** 2),
    "clamp_min": lambda x, s: x / (1 + s.clamp_min(0) ** 2),
    "log2": lambda x, s: x / (1 + torch.exp2(2 * torch.log2(s))),
    "cos": lambda x, s: x * torch.cos(torch.atan(s)) ** 2,
    "hypot": lambda x, s: x / torch.hypot(s, torch.ones_like(s)) ** 2,
    "max": lambda x, s: x / (1 + torch.max(s, 0 * s) ** 2),
    "cat": lambda x, s: x / (1 + torch.cat([s]) ** 2),
    "where": lambda x, s: torch.where(s > 0, x / (1 + s**2), x),
    "addcmul": lambda x, s: torch.addcmul(0 * x, x, 1 / (1 + s**2)),
    "addcmul by name": lambda x, s: torch.addcmul(0 * x, tensor1=x, tensor2=1 / (1 + s**2)),
    "lerp": lambda x, s: torch.lerp(0 * x, x, 1 / (1 + s**2)),
    "multiply": lambda x, s: torch.multiply(x, 1 / (1 + s**2)),
    "in place": lambda x, s: x.divide_(1 + s.square_()),
}


@pytest.mark.parametrize("name", SAID)
def test_a_level_stays_that_of_its_row_whatever_is_made_of_it(name: str) -> None:
    x, sigma = torch.ones(4, 1, 4, 4), torch.arange(1.0, 5.0)
    found = wrap(SAID[name], SHAPE).denoiser(x, sigma)
    assert torch.allclose(found, x / (1 + column(sigma) ** 2), atol=1e-6)


def test_levels_may_be_written_to() -> None:
    """They were the solver's own: what a model had made of them became its level."""

    def noise(x: Tensor, sigma: Tensor) -> Tensor:
        n = (x - gaussian(x, sigma)) / column(sigma)
        sigma.zero_()
        return n

    for solver, nfe in SOLVERS:
        found = drawn(noise, solver, nfe, predicts="epsilon")
        assert torch.allclose(found, drawn(gaussian, solver, nfe), atol=1e-3)
    x, sigma = torch.ones(4, *SHAPE), torch.arange(1.0, 5.0)
    wrap(noise, SHAPE).denoiser(x, sigma)
    assert torch.equal(sigma, torch.arange(1.0, 5.0))


def test_one_number_of_several_rows_is_one_line() -> None:
    for model in (lambda x, s: x / float(s), lambda x, s: x if s > 1 else 0 * x):
        with refused("model", "[4]", "take sigma[0]"):
            drawn(model)
        wrap(model, SHAPE).sample(n=1, nfe=4)  # of one row it is plain


def test_a_variance_that_was_learned_is_told_how_to_be_left_out() -> None:
    with refused("model", "the first half, answer[:, :1]"):
        drawn(lambda x, s: torch.cat([gaussian(x, s), x], 1))


def test_plain_broadcasting_would_pair_rows_with_columns() -> None:
    """The twin: four rows of four columns, each row at a level of its own."""
    x, sigma = torch.ones(4, 1, 4, 4), torch.arange(1.0, 5.0)
    plain = x / (1 + sigma**2)
    assert not torch.equal(plain, x / (1 + column(sigma) ** 2))
    assert torch.equal(wrap(gaussian, SHAPE).denoiser(x, sigma), x / (1 + column(sigma) ** 2))


WRONG: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "[N]": lambda x, s: x.mean((1, 2, 3)),
    "[N,1,1,1]": lambda x, s: x.mean((1, 2, 3), keepdim=True),
    "one channel of three": lambda x, s: x[:, :1],
    "scalar": lambda x, s: torch.tensor(0.0),
    "None": lambda x, s: None,
    "tuple": lambda x, s: (x,),
    "numpy": lambda x, s: x.numpy(),
    "whole numbers": lambda x, s: x.long(),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_answer_is_one_line(name: str) -> None:
    with refused("model", "the shape of x"):
        wrap(WRONG[name], shape=(3, 4, 4)).sample(n=2, nfe=4)


@pytest.mark.parametrize("solver", ["unipc", "dpmpp_2m", "deis", "lms", "heun"])
def test_a_model_may_answer_in_one_buffer(solver: str) -> None:
    """As a captured graph does: a solver that keeps earlier answers had the last in their place."""
    buffer = torch.empty(2, *SHAPE)
    kept = wrap(lambda x, s: buffer.copy_(gaussian(x, s)), SHAPE).sample(n=2, nfe=6, solver=solver)
    assert torch.equal(kept.x, wrap(gaussian, SHAPE).sample(n=2, nfe=6, solver=solver).x)


@pytest.mark.parametrize(
    "answer", [lambda x, s: x.to_sparse(), lambda x, s: x.to("meta"), lambda x, s: x.to_mkldnn()]
)
def test_an_answer_that_is_not_dense_is_one_line(answer: Callable[..., Any]) -> None:
    """Which gave plausible, wrong images."""
    with refused("model", "return a dense tensor on cpu"):
        wrap(answer, SHAPE).sample(n=2, nfe=4)


def test_a_class_and_a_shape_beyond_all_memory_are_one_line() -> None:
    with refused("model", "give an object of it"):
        wrap(nn.Linear, SHAPE)
    with refused("shape", "give a whole number from 1 to 1048576"):
        wrap(gaussian, (2**40, 2**40))


def test_a_callback_hears_a_copy() -> None:
    model = wrap(gaussian, SHAPE)
    disturbed = model.sample(n=2, nfe=4, callback=lambda at, x: x.zero_())
    assert torch.equal(disturbed.x, model.sample(n=2, nfe=4).x)


class Exact(nn.Module):
    """What a module of each prediction answers for N(0, I); levels come as a plain tensor."""

    def __init__(self, predicts: str) -> None:
        super().__init__()
        self.predicts = predicts

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        assert type(sigma) is Tensor
        s = sigma[:, None, None, None]
        x_0 = x / (1 + s**2)
        n = (x - x_0) / s
        alpha = (1 + s**2) ** -0.5
        return {
            "x0": x_0, "epsilon": n, "v": alpha * n - s * alpha * x_0, "flow": n - x_0,
            "score": (x_0 - x) / s**2,
        }[self.predicts]  # fmt: skip


@pytest.mark.parametrize("predicts", ["x0", "epsilon", "v", "flow", "score"])
def test_what_a_model_predicts(predicts: str) -> None:
    found = drawn(Exact(predicts), predicts=predicts)
    assert torch.allclose(found, drawn(gaussian), atol=1e-4)


def test_labels_reach_the_model_with_their_empty_side() -> None:
    seen: list[list[int]] = []

    def shifted(x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        seen.append(label.tolist())
        mean = torch.where(label < 3, label.to(x.dtype), 0.0)
        s = column(sigma)
        return (x + s**2 * mean[:, None, None, None]) / (1 + s**2)

    model = wrap(shifted, SHAPE, classes=3)
    plain = model.sample(n=64, nfe=12, label=2).x
    assert set(seen[0]) == {2}
    assert abs(float(plain.mean()) - 2) < 0.1
    seen.clear()
    guided = model.sample(n=64, nfe=24, label=2, guidance="cfg", guidance__cfg__scale=3.0).x
    assert set(seen[0]) == {2, 3}
    # D_empty + 3 (D_2 - D_empty) is the denoiser of a mean of 6.
    assert abs(float(guided.mean()) - 6) < 0.15
    seen.clear()
    model.sample(n=2, nfe=2)
    assert seen[0] == [3, 3]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"predicts": "noise"}, "predicts=noise"),
        ({"classes": 1.5}, "classes=1.5"),
        ({"shape": (1, 4, "4")}, "shape='4'"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=f"^{key}"):
        wrap(gaussian, **{"shape": SHAPE, **options})


class Convolved(nn.Module):
    """A module of float32, which torch lets nothing of another dtype into."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.mix = nn.Linear(1, 1), nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        answer: Tensor = self.mix(x / (1 + column(sigma) ** 2))
        return answer + 0 * column(self.scale(sigma[:, None])[:, 0])


@pytest.mark.parametrize("inside_a_function", [False, True])
def test_a_network_of_float32_is_encoded_and_measured_too(inside_a_function: bool) -> None:
    """Their states are float64, which the network is not to see."""
    torch.manual_seed(0)
    network = Convolved().eval()
    model = wrap((lambda x, s: network(x, s)) if inside_a_function else network, shape=SHAPE)
    images = torch.rand(2, *SHAPE) * 2 - 1
    latents = model.encode(images, error=0.01)
    assert latents.dtype == torch.float64
    assert (model.decode(latents, error=0.01) - images).abs().max() < 0.2
    assert len(model.likelihood(images, label=None, error=0.1)) == 2
    assert model.sample(n=2, nfe=4, dtype="float64").x.dtype == torch.float64


def test_what_works_in_float64_is_asked_in_it_and_other_errors_are_its_own() -> None:
    seen = set()

    def look(x: Tensor, sigma: Tensor) -> Tensor:
        seen.add(x.dtype)
        return gaussian(x, sigma)

    wrap(look, shape=SHAPE).encode(torch.zeros(1, *SHAPE), error=0.1)
    assert seen == {torch.float64}

    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        raise RuntimeError(f"asked in {x.dtype}")

    with pytest.raises(RuntimeError, match=r"asked in .*float64"):
        wrap(broken, shape=SHAPE).encode(torch.zeros(1, *SHAPE), error=0.1)


def test_a_keyword_of_wrap_that_is_misspelt_is_one_line() -> None:
    with refused("clases: unknown keyword", "did you mean classes?"):
        wrap(gaussian, SHAPE, clases=3)  # type: ignore[call-arg]


class Trained(nn.Module):
    """D of N(0, I) as a training leaves it: dropout draws, and its statistics are the batch's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        answer: Tensor = self.layers(x) / (1 + column(sigma) ** 2)
        return answer


class Held:
    """A plain object that holds a network."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, x: Tensor, sigma: Tensor) -> Any:
        return self.network(x, sigma)


NETWORK = Trained()


def named(x: Tensor, sigma: Tensor) -> Any:
    return NETWORK(x, sigma)


HOLDING: dict[str, Callable[[Trained], Callable[..., Any]]] = {
    "itself": lambda network: network,
    "a method": lambda network: network.forward,
    "a partial": lambda network: functools.partial(Held.__call__, Held(network)),
    "a closure": lambda network: lambda x, sigma: network(x, sigma),
    "a name": lambda network: named,
    "a function of a function": lambda network: lambda x, sigma: named(x, sigma),
    "an object": Held,
    "an object's method": lambda network: Held(network).__call__,
}


@pytest.mark.parametrize("name", HOLDING)
def test_modules_are_asked_in_evaluation_mode(name: str) -> None:
    """Dropout and batch norm were drawn with as they had been trained, without a word."""
    network = NETWORK if "name" in name or "function" in name else Trained()
    network.train()
    model, before = HOLDING[name](network), str(network.state_dict())
    x = drawn(model)
    assert all(layer.training for layer in network.modules())  # as it was
    assert str(network.state_dict()) == before
    assert torch.equal(x, drawn(network.eval()))
    if name == "itself":  # the twin: in the mode that it was in an image is another each time
        noise = torch.randn(4, *SHAPE), torch.ones(4)
        network.train()
        assert not torch.equal(network(*noise), network(*noise))


@pytest.mark.parametrize("first", ["t", "sigma", "timesteps"])
def test_a_level_before_the_state_is_one_line(first: str) -> None:
    """As those of flow matching are called: each was taken for the other, of one shape or not."""
    model = eval(f"lambda {first}, x: x / (1 + {first} ** 2)")
    with refused("model", f"({first}, x)", "give lambda x, sigma: model(sigma, x)"):
        wrap(model, SHAPE)


def test_a_compiled_function_is_given_a_plain_level() -> None:
    """Of the level that stands for its row the compiler made an endless recursion."""
    model = torch.compile(lambda x, sigma: x / (1 + column(sigma) ** 2), backend="eager")
    assert torch.allclose(drawn(model), drawn(gaussian), atol=1e-6)


def test_a_state_that_no_memory_holds_is_one_line() -> None:
    with refused("shape=(1048576, 1048576)", "give at most"):
        wrap(gaussian, (2**20, 2**20))
