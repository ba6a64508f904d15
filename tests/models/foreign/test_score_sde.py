"""score_sde's networks: ours are the same function, on weights read from a file of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sde_diffusion
from sde_diffusion.config.compose import compose_task
from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import VP, SubVP
from sde_diffusion.system.notice import new_job
from sde_diffusion.tasks import convert
from tests.models.foreign.files import torch_file
from tests.models.foreign.records import image, record

NAMES = ["score_vp", "score_subvp", "score_ve"]


def file_of(path: Path, name: str) -> Path:
    """A checkpoint of theirs: weights that were not averaged are others than the recorded ones."""
    facts, state, _ = record(name)
    raw = {f"module.{k}": v + 1.0 if k in facts["trained"] else v for k, v in state.items()}
    average = {
        "decay": 0.9,
        "num_updates": 1,
        "shadow_params": [state[k] for k in facts["trained"]],
    }
    content = {"optimizer": {"state": {}}, "model": raw, "ema": average, "step": 7}
    return torch_file(path, content)


@torch.no_grad()
def gap(tmp_path: Path, name: str) -> float:
    """Of the noise n, from D and from the authors' score, relative to its largest value."""
    facts, _, tensors = record(name)
    model = sde_diffusion.load(file_of(tmp_path / "c.pth", name), family=facts["family"], size=8)
    t = tensors["t"].double()
    if facts["family"] == "ve":  # their images are in 0 .. 1, ours in -1 .. 1
        alpha, sigma = torch.ones(8).double(), 0.02 * 5000**t
        x = image().double() * (1 + sigma[:, None, None, None] ** 2).sqrt()
        eps = -tensors["score"] * (sigma / 2)[:, None, None, None]
    else:
        sde = VP() if facts["family"] == "vp" else SubVP()
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        x = image().double() / alpha[:, None, None, None]
        # Their noise is divided by their own sigma, in float32, where 1 - alpha^2 loses digits.
        alpha_2 = torch.exp(2 * (-0.25 * tensors["t"] ** 2 * 19.9 - 0.5 * tensors["t"] * 0.1))
        std = 1 - alpha_2 if facts["family"] == "subvp" else (1 - alpha_2).sqrt()
        eps = -tensors["score"] * std[:, None, None, None]
    gaps = []
    for i in range(8):
        level = (sigma[i] / alpha[i]).clamp(model.denoiser.sigma_min, model.denoiser.sigma_max)
        ours = (x[i : i + 1] - model.denoiser(x[i : i + 1], level)) / level
        gaps.append(float((ours - eps[i]).abs().max() / eps[i].abs().max()))
    return max(gaps)


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_authors_at_eight_times(tmp_path: Path, name: str) -> None:
    """The score, from D by Tweedie, to 1e-5 of the size of its noise."""
    assert gap(tmp_path, name) <= 1e-5


def test_the_process_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"family=vp or subvp or ve.*sde-diffusion convert"
    ) as caught:
        sde_diffusion.load(file_of(tmp_path / "c.pth", "score_vp"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "family", "fits"),
    [("score_vp", "ve", "vp or subvp"), ("score_ve", "vp", "ve"), ("score_ve", "subvp", "ve")],
)
def test_a_process_that_the_layers_do_not_fit_is_refused(
    tmp_path: Path, name: str, family: str, fits: str
) -> None:
    """The label of another process would be told to them, and drawn without a word."""
    with pytest.raises(InputError, match=f"family={family}: .* give family={fits}$"):
        sde_diffusion.load(file_of(tmp_path / "c.pth", name), family=family, size=8)


def test_what_a_compiler_puts_before_the_names_is_left_out(tmp_path: Path) -> None:
    content = torch.load(file_of(tmp_path / "c.pth", "score_vp"), weights_only=True)
    content["model"] = {f"_orig_mod.{k}": v for k, v in content["model"].items()}
    torch.save(content, tmp_path / "d.pth")
    x, level = image()[:1], torch.tensor(1.0)
    one, two = (
        sde_diffusion.load(tmp_path / name, family="vp", size=8).denoiser(x, level)
        for name in ("c.pth", "d.pth")
    )
    assert torch.equal(one, two)


def test_a_file_without_an_average_says_so(tmp_path: Path) -> None:
    content = torch.load(file_of(tmp_path / "c.pth", "score_vp"), weights_only=True)
    del content["ema"]
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(InputError, match=r"has no ema, .* give a checkpoint that its training"):
        sde_diffusion.load(tmp_path / "c.pth", family="vp", size=8)


def test_the_command_line_says_it_to_convert(tmp_path: Path) -> None:
    """What load(PATH, family=...) opens is the file that the command writes, to the last bit."""
    path, mine = file_of(tmp_path / "c.pth", "score_vp"), tmp_path / "mine.safetensors"
    words = ["task=convert", f"checkpoint={path}", f"output={mine}"]
    with pytest.raises(InputError, match=r"famly: .* has no such option; did you mean family"):
        convert.run(compose_task([*words, "source={famly:vp}"]), tmp_path / "a")
    convert.run(compose_task([*words, "source={family:vp,size:8}"]), tmp_path / "b")
    x, level = image()[:1].double(), torch.tensor(1.0, dtype=torch.float64)
    ours = sde_diffusion.load(path, family="vp", size=8).denoiser(x, level)
    assert torch.equal(sde_diffusion.load(mine).denoiser(x, level), ours)


def test_a_size_that_is_not_given_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network of 64 x 64 was drawn at 32 x 32, without a word."""
    new_job()
    model = sde_diffusion.load(file_of(tmp_path / "c.pth", "score_vp"), family="vp")
    assert model.denoiser.shape == (3, 32, 32)
    assert "give size=64, say" in capsys.readouterr().err
