"""torch.compile: the same numbers, or one line where there is no compiler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._inductor import config as inductor

from sde_diffusion.denoisers.arithmetic import compiled
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.spec import Spec
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Trainer
from tests.training.small import CONFIG, PARTS

SPEC = Spec("mlp", {"channels": 3, "width": 8, "blocks": 1, "embedding": 8}, "v", {}, (3,))
POINTS = ImageSet(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), None, 0, "points")


def losses(folder: Path, config: TrainConfig) -> list[float]:
    return [float(m["loss"]) for m in Trainer(SPEC, POINTS, PARTS, config, folder).run()]


def has_compiler() -> bool:
    try:
        compiled(torch.nn.Identity(), torch.device("cpu"))
    except InputError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, as it compiles
def test_compiled_training_has_the_same_numbers(tmp_path: Path) -> None:
    if not has_compiler():
        pytest.skip("no C++ compiler here")
    plain = losses(tmp_path / "plain", CONFIG)
    made = losses(tmp_path / "made", replace(CONFIG, compile=True))
    assert made == pytest.approx(plain, rel=1e-4)
    # Names of weights are those of the network itself, and a plain run goes on with them.
    longer = Trainer(SPEC, POINTS, PARTS, replace(CONFIG, steps=9), tmp_path / "made")
    assert [m["step"] for m in longer.run()] == [8, 9]


@pytest.mark.filterwarnings("ignore")
def test_no_compiler_is_one_line() -> None:
    torch._dynamo.reset()  # it keeps what this process has compiled
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(InputError, match=r"^compile=true: no compiler that works here") as caught,
    ):
        compiled(torch.nn.Identity(), torch.device("cpu"))
    assert "\n" not in str(caught.value)
