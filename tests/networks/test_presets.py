"""Every network and parameterization yaml builds, and lists every argument that can be chosen."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sde_diffusion import networks
from sde_diffusion.config import groups
from sde_diffusion.config.groups import FROM_DATA, conf_dir
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS, registered
from sde_diffusion.models.file import save_checkpoint, shapes
from sde_diffusion.models.sources import open_model
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks.registry import find
from sde_diffusion.system.identity import parameters
from tests.networks.small import YAMLS, fields, name, shape_of, small_args

PREDICTIONS = sorted((Path(conf_dir()) / "parameterization").glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_network_yaml_lists_what_data_do_not_say(path: Path) -> None:
    assert set(fields(path)) == set(parameters(find(name(path)))) - set(FROM_DATA["network"])


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_network_yaml_states_its_size(path: Path) -> None:
    """Built whole, without memory: as many weights as its comment says."""
    stated = re.search(
        r"^# ([\d,]+) weights with channels=(\d), classes=0\.$", path.read_text(), re.M
    )
    assert stated is not None
    count, channels = int(stated[1].replace(",", "")), int(stated[2])
    args = {**fields(path), "channels": channels, "classes": 0}
    with torch.device("meta"):
        network = networks.build(name(path), args)
    assert sum(p.numel() for p in network.parameters()) == count
    # A checkpoint's check finds the same shapes.
    found = shapes(Spec(name(path), args, "karras", {}, (channels, 64, 64)))
    assert found == {name: value.shape for name, value in network.state_dict().items()}


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_network_yaml_is_for_the_sizes_that_it_names(path: Path) -> None:
    """Shapes alone, so that whole presets can be asked."""
    sides = {"32": [28, 32], "64": [64], "mnist": [28], "small": [8], "shapes": [32], "mlp": []}
    sides["texture"] = [32, 96]
    with torch.device("meta"):
        given = {**fields(path), "channels": 3}
        for side in sides[path.stem.split("_")[-1]]:
            own = {"size": side} if "size" in given else {}
            network = networks.build(name(path), given | own).to("meta")
            x = torch.zeros(2, 3, side, side)
            assert network(x, torch.zeros(2)).shape == x.shape


@pytest.mark.parametrize("path", PREDICTIONS, ids=lambda p: p.stem)
def test_a_parameterization_yaml_is_what_a_checkpoint_calls_so(path: Path) -> None:
    assert registered(groups.make("parameterization", path.stem)) == path.stem


def test_every_parameterization_has_a_yaml() -> None:
    """But for consistency functions, which no training here makes."""
    trained = {name for name, made in PARAMETERIZATIONS.items() if not made.ends}
    assert [p.stem for p in PREDICTIONS] == sorted(trained)
    assert len(trained) == len(PARAMETERIZATIONS) - 3


@pytest.mark.parametrize("network", YAMLS, ids=lambda p: p.stem)
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda p: p.stem)
def test_every_pair_denoises(network: Path, prediction: Path) -> None:
    shape = shape_of(network)
    spec = Spec(
        name(network),
        small_args(network, channels=shape[0], classes=10),
        prediction.stem,
        fields(prediction),
        shape,
    )
    d = spec.build().eval()
    for sigma in (0.002, 1.0, 80.0):
        out = d(torch.randn(2, *shape), torch.tensor(sigma))
        assert out.shape == (2, *shape)
        assert bool(out.isfinite().all())


# What presets of a paper's name gave our own networks until they gave the published ones, small.
OLDER: dict[str, tuple[str, dict[str, object]]] = {
    "ddpmpp_32": ("unet", {
        "widths": [8, 8, 8], "blocks": 1, "attention": [1], "patch": 1, "embedding": 16,
        "dropout": 0.13, "head_width": 8, "attention_up": False, "middle": [True, False],
        "scale_shift": False, "skip_scaling": True, "resample": [1, 1],
        "magnitude_preserving": False, "text_width": 128, "text_depth": 2,
    }),
    "ncsnpp_32": ("ncsnpp", {
        "widths": [8, 8, 8], "blocks": 1, "attention": [1], "patch": 1, "embedding": 16,
        "dropout": 0.13, "head_width": 8, "resample": [1, 3, 3, 1], "scale": 16.0,
    }),
    "adm_64": ("unet", {
        "widths": [8, 16], "blocks": 1, "attention": [1], "patch": 1, "embedding": 16,
        "dropout": 0.1, "head_width": 8, "attention_up": True, "middle": [True, False],
        "scale_shift": True, "skip_scaling": False, "resample": [1, 1],
        "magnitude_preserving": False, "text_width": 128, "text_depth": 2,
    }),
    "edm2_32": ("unet", {
        "widths": [8, 8, 16], "blocks": 1, "attention": [1, 2], "patch": 1, "embedding": 16,
        "dropout": 0.0, "head_width": 8, "attention_up": True, "middle": [True, False],
        "scale_shift": True, "skip_scaling": False, "resample": [1, 1],
        "magnitude_preserving": True, "text_width": 128, "text_depth": 2,
    }),
    "dit_s_32": ("dit", {
        "width": 24, "depth": 2, "heads": 6, "patch": 2, "ratio": 4.0, "embedding": 16,
        "dropout": 0.0,
    }),
}  # fmt: skip


@pytest.mark.parametrize("preset", OLDER)
def test_what_an_older_preset_trained_opens_as_before(preset: str, tmp_path: Path) -> None:
    kind, args = OLDER[preset]
    given = {"channels": 3, "classes": 4, **args}
    spec = Spec(kind, given, "karras", {"sigma_data": 0.5}, (3, 16, 16), classes=4)
    torch.manual_seed(0)
    made = spec.build().eval()
    state = {f"model.{k}": v + 0.05 * torch.randn(v.shape) for k, v in
             made.network.state_dict().items()}  # fmt: skip
    made.network.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})
    save_checkpoint(tmp_path / "model.safetensors", spec, state)
    x, level = torch.randn(2, 3, 16, 16), torch.tensor(1.5)
    again = open_model(tmp_path / "model.safetensors").denoiser
    assert torch.equal(again(x, level), made(x, level))
    assert name(Path(conf_dir()) / "network" / f"{preset}.yaml") != kind


def test_shapes_are_found_without_a_compiler() -> None:
    """Arithmetic on the meta device imports torch's, a second of every command's start."""
    code = """
import sys
from sde_diffusion.models.file import shapes
from sde_diffusion.models.spec import Spec
from tests.networks.small import YAMLS, name, shape_of, small_args
for path in YAMLS:
    if path.stem.startswith("dit_"):  # computes where its patches stand
        continue
    shape = shape_of(path)
    args = small_args(path, channels=shape[0])
    shapes(Spec(name(path), args, "karras", {}, shape))
    print(path.stem if "torch._dynamo" in sys.modules else "")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()
