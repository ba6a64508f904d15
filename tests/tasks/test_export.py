"""An exported folder opens as its model, and its card says what the model is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import sde_diffusion as sd
from sde_diffusion.models.sources.hub import WANTED
from tests.conftest import Run
from tests.refusals import named

QUICK = ("samples=4", "nfe=4")


def test_a_folder_for_the_hub_opens_to_the_last_bit(
    quick_cli: Run, tiny_model: str, tmp_path: Path
) -> None:
    quick_cli("export", f"checkpoint={tiny_model}", "output=mine", "license=mit", *QUICK)
    folder = tmp_path / "mine"
    files = {"README.md", "config.json", "model.safetensors", "samples.png"}
    assert {path.name for path in folder.iterdir()} == files
    assert (folder / "model.safetensors").read_bytes() == Path(tiny_model).read_bytes()
    one, other = sd.load(tiny_model), sd.load(folder)
    assert torch.equal(one.sample(2, 4, label="all").x, other.sample(2, 4, label="all").x)
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["library_name"] == "sde_diffusion"
    assert said["license"] == "mit"
    weights = sum(p.numel() for p in one.denoiser.parameters())
    assert f"| network | unet, {weights:,} weights |" in text
    assert one.fingerprint[:16] in text
    assert json.loads((folder / "config.json").read_text())["network"] == "unet"
    # What the Hub's copy is fetched by has all that opens it.
    assert {"config.json", "*.safetensors"} <= set(WANTED)


def test_the_card_has_the_figures_of_the_models_own_jobs(
    quick_cli: Run, tiny_model: str, tmp_path: Path
) -> None:
    pixels = ("extractor=pixel", "extractor.height=8", "extractor.width=8")
    quick_cli("reference", "data=digits", *pixels, "hydra.run.dir=digits")
    quick_cli(
        "compare", f"checkpoint={tiny_model}", "solvers=[ddim]", "nfe=[2,3]", "samples=[80,100]",
        *pixels, "reference=digits/pixel4-reference.safetensors", "metric=[]", "animation=false",
        "hydra.run.dir=compared",
    )  # fmt: skip
    quick_cli("export", f"checkpoint={tiny_model}", "output=mine", "figures=[compared]", *QUICK)
    rows = json.loads((tmp_path / "compared" / "results.json").read_text())["rows"]
    (best,) = [row for row in rows if row["samples"] == 100 and row["nfe"] == 3]
    card = (tmp_path / "mine" / "README.md").read_text()
    assert f"| ddim | 3 | {best['fd_debiased']:.4g} |" in card
    assert "of 100 samples, bias removed |" in card
    few = {**best, "fd_debiased": None}  # withheld: of too few samples
    job = json.loads((tmp_path / "compared" / "results.json").read_text())
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "results.json").write_text(json.dumps({**job, "rows": [few]}))
    quick_cli("export", f"checkpoint={tiny_model}", "output=scant", "figures=[few]", *QUICK)
    card = (tmp_path / "scant" / "README.md").read_text()
    assert (
        f"of 100 samples, plug-in |\n| --- | --- | --- |\n| ddim | 3 | {best['fd']:.4g} |" in card
    )
    done = quick_cli("export", "output=other", "figures=[compared]", *QUICK, ok=False)
    named(done.stderr.removeprefix("sde-diffusion: "), "figures=compared", "of another model")
    assert not (tmp_path / "other").exists()


REFUSED = {
    "format": (["format=tflite"], "format"),
    "there": (["output=."], "output=."),
    "figures": (["figures=[nowhere]"], "figures=nowhere"),
    "suffix": (["format=torch_export"], "nfe: of the pictures of format=hub"),
    "checkpoint": (["checkpoint=nothing"], "checkpoint=nothing"),
    "samples": (["samples=-1"], "samples=-1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_refused_in_one_line(
    quick_cli: Run, tiny_model: str, tmp_path: Path, name: str
) -> None:
    words, key = REFUSED[name]
    given = ["export", f"checkpoint={tiny_model}", "output=mine", *QUICK]
    kept = [word for word in given if word.split("=")[0] not in {w.split("=")[0] for w in words}]
    done = quick_cli(*kept, *words, ok=False)
    assert done.returncode != 0
    named(done.stderr.removeprefix("sde-diffusion: "), key)
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_a_graph_by_its_command(quick_cli: Run, tiny_model: str, tmp_path: Path) -> None:
    done = quick_cli(
        "export", f"checkpoint={tiny_model}", "output=mine.pt2", "format=torch_export",
        "hydra.run.dir=job",
    )  # fmt: skip
    assert "mine.pt2: within" in done.stdout
    assert json.loads((tmp_path / "job" / "result.json").read_text())["difference"] < 1e-4
    x, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 1.0, 10.0])
    answer = torch.export.load(tmp_path / "mine.pt2").module()(x, sigma, [torch.tensor([1, 2, -1])])
    assert answer.shape == x.shape


@pytest.mark.parametrize(
    ("words", "key", "remedy"),
    [
        ("export output=x.onnx", "output=x.onnx", "format=onnx"),
        ("export output=x.pt2 format=torch_export license=mit", "license=mit", "leave it out"),
        ("export output=x.onnx format=onnx figures=[a]", "figures=", "leave it out"),
        ("export output=x.onnx format=onnx solver=ddim", "solver:", "leave it out"),
        ("export output=x.onnx format=onnx grid.sigma_max=3", "grid:", "leave it out"),
        ("export output=mine format=torch_export", "output=mine", "give"),
        ("export output=x.onnx format=onnx samples=3", "samples:", "leave it out"),
        ("export output=x samples=0 nfe=4", "nfe:", "leave one of the two out"),
        ("calibrate data=mnist", "data:", "give twin=4"),
        ("convert output=tiny.safetensors", "output=tiny.safetensors", "give another name"),
        ("convert output=x.safetensors source=vp", "source=vp", "{NAME: VALUE}"),
    ],
)
def test_what_would_have_no_effect_or_overwrite_is_refused(
    words: str, key: str, remedy: str, quick_cli: Run, tiny_model: str
) -> None:
    """A folder was called x.onnx, and the checkpoint was written over."""
    before = Path(tiny_model).read_bytes()
    done = quick_cli(*words.split(), f"checkpoint={tiny_model}", ok=False)
    assert done.returncode == 2
    named(done.stderr.removeprefix("sde-diffusion: "), key, remedy)
    assert Path(tiny_model).read_bytes() == before
