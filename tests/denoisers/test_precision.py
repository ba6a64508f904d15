"""bfloat16 is the network's products and nothing else, in sampling as in training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import KarrasPreconditioning
from sde_diffusion.denoisers.precision import checked, recorded
from sde_diffusion.face.load import load
from sde_diffusion.models.spec import Spec
from tests.conftest import Run
from tests.refusals import refused

SPEC = Spec("mlp", {"channels": 3, "width": 32, "blocks": 2, "embedding": 16}, "karras", {}, (3,))


def denoisers() -> tuple[NetworkDenoiser, NetworkDenoiser]:
    """The same network in float32 and in bfloat16."""
    torch.manual_seed(0)
    network = SPEC.build().network
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    one, two = (
        NetworkDenoiser(network, KarrasPreconditioning(), (3,), precision=precision)
        for precision in ("float32", "bfloat16")
    )
    return one, two


LEVELS = [torch.tensor(0.7), torch.tensor([0.01, 0.7, 60.0, 3.0])]


@pytest.mark.parametrize("sigma", LEVELS, ids=["one level", "a level a row"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_alone_is_rounded(sigma: Tensor, dtype: torch.dtype) -> None:
    single, half = denoisers()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)
    answer = half(x, sigma)
    assert answer.dtype == dtype
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    # bfloat16 has 8 bits: an answer is off by some 2^-8 of what the network contributes, c_out F.
    error = (answer - single(x, sigma)).abs()
    p, column = half.parameterization, sigma.reshape(-1, 1) if sigma.ndim else sigma
    scale = p.c_out(column.double()).abs()
    assert bool((error > 0).any())
    assert bool((error <= 0.05 * scale * (1 + x.abs().max())).all())


def test_training_is_in_the_same_precision() -> None:
    """What an autocast around the whole error gives, to the last bit: float32 stays float32."""
    single, half = denoisers()
    x_0, noise = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)).unbind(0)
    with torch.autocast("cpu", torch.bfloat16):
        whole = single.squared_error(x_0, LEVELS[1], noise, None)
    assert torch.equal(half.squared_error(x_0, LEVELS[1], noise, None), whole)
    assert not torch.equal(single.squared_error(x_0, LEVELS[1], noise, None), whole)


def test_names_and_types_of_torch() -> None:
    assert [checked(p) for p in ("bfloat16", torch.bfloat16, torch.float32)] == [
        "bfloat16", "bfloat16", "float32",
    ]  # fmt: skip
    assert recorded("float32") == "float32"
    assert recorded("bfloat16") != "bfloat16"  # whose weights were cast
    for wrong in ("half", torch.float16, 3, None):
        with refused("precision=", "choose one of float32, bfloat16"):
            load("mnist", precision=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        "sample n=1 nfe=1",
        "compare samples=[2] nfe=[1]",
        "likelihood data=digits n=1",
        "interpolate images=digits pairs=1",
        "calibrate nfe=[2]",
        "train data=digits network=unet_small",
        "extractor data=digits",
    ],
)
def test_every_task_that_runs_a_network_has_it(words: str, quick_cli: Run) -> None:
    done = quick_cli(*words.split(), "precision=half", "hydra.run.dir=out", ok=False)
    assert "precision=half: choose one of float32, bfloat16" in done.stderr
    # What was read of the data may be said before.
    lines = done.stderr.strip().splitlines()
    assert [line for line in lines if line.startswith("sde-diffusion:")] == lines[-1:]
