"""What is written opens again to the last bit, here and in diffusers; the hub by a stand-in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.errors import InputError
from sde_diffusion.models.selftest import self_test
from sde_diffusion.tasks import convert, inspect

pytest.importorskip("diffusers", reason="diffusers is not installed; see [pretrained]")
from tests.models.test_diffusers import diffusers, unet, written

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def drawn(path: Path) -> Tensor:
    label = "all" if sd.load(path).classes else None
    return sd.load(path).sample(2, 5, solver="dpmpp_2m", label=label).x


@pytest.mark.parametrize("classes", [None, 5])
def test_a_converted_model_draws_the_same_bits(classes: int | None, tmp_path: Path) -> None:
    source = written(tmp_path / "theirs", unet(num_class_embeds=classes))
    model = sd.load(source)
    model.save(tmp_path / "ours.safetensors")
    expected = drawn(source)
    assert torch.equal(drawn(tmp_path / "ours.safetensors"), expected)
    again = sd.load(tmp_path / "ours.safetensors")
    assert again.grid is not None
    assert again.grid.fields() == model.grid.fields()  # type: ignore[union-attr]
    again.save(tmp_path / "back", format="diffusers")
    same = sd.load(tmp_path / "back")
    nfe = {"solver": "dpmpp_2m", "label": None if classes is None else "all"}
    assert torch.equal(same.sample(2, 5, **nfe).x, expected)


def test_a_flow_goes_through_a_file_with_its_infinity(tmp_path: Path) -> None:
    network = unet()
    path = written(tmp_path / "theirs", network)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.save_pretrained(path / "scheduler")
    index = path / "model_index.json"
    index.write_text(index.read_text().replace("DDPMScheduler", type(scheduler).__name__))
    sd.load(path).save(tmp_path / "flow.safetensors")
    assert sd.load(tmp_path / "flow.safetensors").denoiser.sigma_max == float("inf")
    assert torch.equal(drawn(tmp_path / "flow.safetensors"), drawn(path))


FLOWS = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
V = {"prediction_type": "v_prediction", "clip_sample": False}
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "leading": ("DDIMScheduler", {"steps_offset": 1, "clip_sample": False}),
    "not to one": ("DDIMScheduler", {"set_alpha_to_one": False, "clip_sample": False}),
    "betas": ("DDPMScheduler", {"beta_schedule": "squaredcos_cap_v2", **V}),
    "zero SNR": (
        "DDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", **V}
    ),
    "karras beyond": ("UniPCMultistepScheduler", {"use_karras_sigmas": True}),
    "linspace": ("EulerDiscreteScheduler", {}),
    "flow": ("FlowMatchEulerDiscreteScheduler", {"shift": 0.5}),
    "flow of unipc": ("UniPCMultistepScheduler", FLOWS),
    "flow of dpm": ("DPMSolverMultistepScheduler", FLOWS),
}  # fmt: skip


def of_scheduler(path: Path, name: str, **entries: Any) -> sd.Model:
    """A model of three named classes under a scheduler."""
    written(path, unet(num_class_embeds=3))
    getattr(diffusers, name)(**entries).save_pretrained(path / "scheduler")
    index = json.loads((path / "model_index.json").read_text())
    names = {"id2label": {"0": "cat", "1": "dog", "2": "owl"}, "scheduler": ["diffusers", name]}
    (path / "model_index.json").write_text(json.dumps({**index, **names}))
    return sd.load(path)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_folder_that_is_written_has_grid_and_names(name: str, tmp_path: Path) -> None:
    """The grid of every model was written as trailing, or of a flow as Euler's: other images."""
    scheduler, entries = SCHEDULERS[name]
    model = of_scheduler(tmp_path / "theirs", scheduler, **entries)
    model.save(tmp_path / "back", format="diffusers")
    same = sd.load(tmp_path / "back")
    one, other = (each.sample(3, 5, solver="ddim", label="dog").x for each in (model, same))
    assert torch.equal(one, other)
    assert same.conditioner.encode({"label": "owl"}, [0]) is not None
    diffusers.DDPMPipeline.from_pretrained(tmp_path / "back")  # which passes the names over


def test_a_grid_that_no_scheduler_of_the_pipeline_lays_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    karras = {"use_karras_sigmas": True}
    model = of_scheduler(tmp_path / "theirs", "EulerDiscreteScheduler", **karras)
    model.save(tmp_path / "back", format="diffusers")
    assert "evenly spread ones are written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "says"),
    [({"from_data": True}, "the other way; give format"), ({"scale": 1.0}, r"told 1 t, .* whole")],
)
def test_a_flow_that_diffusers_does_not_know_is_refused(
    path: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """One told the time of the data was written as its opposite, and drew noise."""
    model = of_scheduler(tmp_path / "theirs", "FlowMatchEulerDiscreteScheduler")
    assert model.spec is not None
    spec = dataclasses.replace(model.spec, parameterization_args=path)
    with pytest.raises(InputError, match=says):
        dataclasses.replace(model, spec=spec).save(tmp_path / "back", format="diffusers")
    assert not (tmp_path / "back").exists()


@torch.no_grad()
def test_diffusers_draws_what_was_saved_for_it(tmp_path: Path) -> None:
    """Its DDPMPipeline opens the folder, and its network answers as ours."""
    sd.load(written(tmp_path / "theirs", unet())).save(tmp_path / "folder", format="diffusers")
    pipe = diffusers.DDPMPipeline.from_pretrained(tmp_path / "folder")
    pipe.set_progress_bar_config(disable=True)
    images = pipe(batch_size=2, num_inference_steps=3, output_type="np").images
    assert images.shape == (2, 8, 8, 1)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(pipe.unet(x, torch.tensor(7.0)).sample, unet()(x, torch.tensor(7.0)).sample)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    mnist = sd.load("mnist")
    with pytest.raises(InputError, match="format=diffusers"):
        mnist.save(tmp_path / "folder", format="diffusers")
    with pytest.raises(InputError, match="ends in"):
        mnist.save(tmp_path / "model.pt")
    with pytest.raises(InputError, match="format=onnx"):
        mnist.save(tmp_path / "model.onnx", format="onnx")
    mnist.save(tmp_path / "model.safetensors")
    before = (tmp_path / "model.safetensors").read_bytes()
    mnist.save(tmp_path / "model.safetensors")  # the same: a killed command is given again
    assert (tmp_path / "model.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="is there already"):
        sd.load("scans").save(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="callable"):
        sd.wrap(lambda x, sigma: x, (1, 4, 4)).save(tmp_path / "function.safetensors")


def test_the_self_test_tells_a_denoiser_from_a_map_to_images() -> None:
    """The shipped model against a map that answers with an image of its own for each noise."""
    assert self_test(sd.load("mnist")).ratio < 0.25

    def one_step(x: Tensor, sigma: Tensor) -> Tensor:
        column = sigma.reshape(-1, 1, 1, 1).to(x)
        return (x / (column**2 + 1).sqrt()).sign()

    said = self_test(sd.wrap(one_step, (1, 8, 8)))
    assert not said.denoises
    assert said.finding.value.startswith("no denoiser")


def task(name: str, **keys: Any) -> Any:
    tracker = {"_target_": "sde_diffusion.system.tracking.NoTracker"}
    return OmegaConf.create({"task": name, "tracker": tracker, "device": "cpu", **keys})


def test_inspect_and_convert_by_their_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path / "theirs", unet())
    undone = inspect.run(
        task("inspect", checkpoint=str(source), source=None, self_test=False), tmp_path / "inspect"
    )
    said = capsys.readouterr().out
    assert "prediction" in said
    assert undone == said.count("NOT DONE") == 1  # variance_type
    rows = sd.inspect(source)
    assert str(rows) == said.strip()
    assert rows.undone == ["variance_type"]
    assert rows[0].keys() == {"key", "value", "evidence", "honoured"}
    assert str(sd.inspect(sd.load(source))) == str(rows)
    output = tmp_path / "ours.safetensors"
    keys = {"checkpoint": str(source), "source": None, "output": str(output)}
    assert convert.run(task("convert", **keys, format="safetensors"), tmp_path / "convert") > 1000
    assert torch.equal(drawn(output), drawn(source))


def test_a_repository_of_the_hub_is_opened_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    source, asked = written(tmp_path, unet()), []

    def snapshot(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, any(p.endswith((".py", ".bin")) for p in allow_patterns)))
        return str(source)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    model = sd.load("hub:somebody/pixels@abc")
    assert asked == [("somebody/pixels", "abc", False)]
    assert model.name == "hub:somebody/pixels@abc"

    def offline(*args: Any, **kwargs: Any) -> str:
        raise OSError("Name or service\nnot known")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    for name in ("hub:somebody/pixels", "hub:../../etc", "hub:one", "hub:"):
        with pytest.raises(InputError, match="checkpoint=hub:") as caught:
            sd.load(name)
        assert "\n" not in str(caught.value)
