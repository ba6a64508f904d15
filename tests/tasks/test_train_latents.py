"""``sde-diffusion train codec=FOLDER``: a model of an autoencoder's latents, drawn as pictures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sde_diffusion as sd
from sde_diffusion.data.latents import encoded
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.models.sources.latents.autoencoder import open_autoencoder
from tests.conftest import Run

tiny = pytest.importorskip("tests.tiny_pipelines", reason="needs [peers]", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
OWN = ["steps=2", "save_every=2", "batch_size=4", "warmup=1", "hydra.run.dir=run", "codec=vae",
       "data=folder", "data.path=pictures"]  # fmt: skip
TRAIN = ["train", *OWN, "network=unet_small", "network.widths=[8,16]", "network.embedding=16"]
BLOCKS = {"block_out_channels": [16, 32], "norm_num_groups": 4, "layers_per_block": 1,
          "down_block_types": ["DownBlock2D", "DownBlock2D"],
          "up_block_types": ["UpBlock2D", "UpBlock2D"], "sample_size": 8}  # fmt: skip
DIT = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1, "sample_size": 8}


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VAE, twelve pictures of two classes, and a cache of their own."""
    monkeypatch.setenv("SDE_DIFFUSION_CACHE", str(tmp_path / "cache"))
    tiny.vae(4).save_pretrained(tmp_path / "vae")
    random = np.random.default_rng(0)
    for k in range(12):
        path = tmp_path / "pictures" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)


def pictures(count: int = 3, channels: int = 3) -> ImageSet:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, 16, 16), dtype=torch.uint8, generator=random)
    return ImageSet(images, None, 0, "random")


def test_a_run_on_latents_draws_pictures_wherever_its_folder_lies(
    quick_cli: Run, tmp_path: Path
) -> None:
    quick_cli(*TRAIN, "snapshot_every=1")
    with Image.open(tmp_path / "run" / "samples_2.png") as grid:
        assert grid.mode == "RGB"
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    shutil.move(tmp_path / "run", moved)
    shutil.rmtree(tmp_path / "vae")
    model = sd.load(moved)
    samples = model.sample(2, nfe=2)
    assert samples.x.shape == (2, 4, 8, 8)
    assert samples.images.shape == (2, 3, 16, 16)
    assert model.spec is not None
    assert str(tmp_path) not in json.dumps(model.spec.config)
    quick_cli("ema", f"checkpoint={moved}", "data=folder", "data.path=pictures", "width=[0.06]",
              "images=4", "hydra.run.dir=ema")  # fmt: skip
    average = sd.load(tmp_path / "ema" / "ema-0.06.safetensors").sample(2, nfe=2)
    assert average.images.shape == (2, 3, 16, 16)
    done = quick_cli("inspect", f"checkpoint={moved}")
    assert "AutoencoderKL, scaling 0.18215" in done.stdout


def test_it_is_resumed_and_pictures_are_encoded_once(
    quick_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_cli(*TRAIN)
    kept = sorted((tmp_path / "cache" / "latents").rglob("*.safetensors"))
    assert len(kept) == 2  # of the training pictures, and of those held out
    before = (tmp_path / "run" / "model.safetensors").read_bytes()

    def never(*args: Any, **given: Any) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr("sde_diffusion.codecs.autoencoder.Autoencoder.encode", never)
    quick_cli(*TRAIN)  # finished
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert "3 steps" not in quick_cli(*TRAIN, "steps=3").stderr


def test_latents_are_those_of_the_autoencoder_scaled(tmp_path: Path) -> None:
    vae = tiny.vae(4, scaling_factor=2.0, shift_factor=0.25)
    vae.save_pretrained(tmp_path / "shifted")
    data = pictures()
    made = encoded(data, open_autoencoder(tmp_path / "shifted"))
    with torch.no_grad():
        z = vae.encode(to_float(data.images)).latent_dist.mode()
    assert torch.allclose(made.images, (z - 0.25) * 2.0, atol=1e-5)
    assert made.fingerprint != data.fingerprint
    assert encoded(data, open_autoencoder(tmp_path / "vae")).fingerprint != made.fingerprint


def test_a_damaged_part_of_the_cache_is_made_again(tmp_path: Path) -> None:
    codec = open_autoencoder(tmp_path / "vae")
    first = encoded(pictures(), codec)
    (part,) = (tmp_path / "cache" / "latents").rglob("*.safetensors")
    part.write_bytes(part.read_bytes()[:-7])
    assert torch.equal(encoded(pictures(), codec).images, first.images)


def test_a_cache_that_may_not_be_written_costs_no_latents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codec = open_autoencoder(tmp_path / "vae")
    first = encoded(pictures(), codec)
    monkeypatch.setenv("SDE_DIFFUSION_CACHE", "/dev/null/x")
    capsys.readouterr()
    again = encoded(pictures(), codec, part_size=2)
    assert torch.allclose(again.images, first.images, atol=1e-5)
    line, _ = capsys.readouterr().err.splitlines()  # one line, not one a part
    assert line.startswith("latents kept in the cache: left out ([Errno 20] Not a directory")


def test_a_codec_that_is_gone_or_another_is_refused(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*TRAIN)
    shutil.move(tmp_path / "run" / "codec", tmp_path / "kept")
    alone = tmp_path / "run" / "model.safetensors"
    with pytest.raises(InputError, match=r"lay in the folder codec beside it"):
        sd.load(alone)
    tiny.vae(4, scaling_factor=3.0).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="is another autoencoder than that of"):
        sd.load(alone, codec=str(tmp_path / "other"))
    quick_cli(
        "convert", f"checkpoint={alone}", "source={codec: kept}", "output=new/own.safetensors"
    )
    assert sd.load(tmp_path / "new" / "own.safetensors").codec.identity
    with pytest.raises(InputError, match="was not trained by codec="):
        sd.load("mnist", codec=str(tmp_path / "kept"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["augment=flip"], "augment=flip: changes pictures"),
        (["data.size=15"], r"15 x 15 pixels, and a latent of the codec is 2 wide; .* data.size=14"),
        (["codec=nowhere"], "codec=nowhere: has no config.json of an autoencoder"),
        (["codec=pictures"], "codec=pictures: has no config.json of an autoencoder"),
        (["data=toy", "network=mlp"], "holds vectors, which have no latents; leave codec out"),
    ],
)
def test_what_does_not_go_together_is_one_line(quick_cli: Run, words: list[str], said: str) -> None:
    train = [word for word in TRAIN if not (words[0] == "data=toy" and "network." in word)]
    if words[0] == "data=toy":
        train = [word for word in train if not word.startswith(("data", "network"))]
    done = quick_cli(*train, *words, ok=False)
    line = done.stderr.strip().splitlines()[-1]
    assert re.search(said, line), line


@pytest.mark.parametrize(
    ("name", "words", "pipeline"),
    [("diffusers", BLOCKS, "LDMPipeline"), ("diffusers_dit", DIT, "DiTPipeline")],
)
def test_a_network_of_diffusers_becomes_its_pipeline(
    quick_cli: Run, tmp_path: Path, name: str, words: dict[str, Any], pipeline: str
) -> None:
    """The same latents and pictures by the folder, and by the pipeline itself."""
    config = json.dumps(words).replace('"', "").replace(" ", "")
    unlabelled = pipeline == "LDMPipeline"
    if unlabelled:
        for path in list((tmp_path / "pictures").rglob("*.png")):
            path.rename(tmp_path / "pictures" / path.name)
        for folder in ("a", "b"):
            (tmp_path / "pictures" / folder).rmdir()
    quick_cli("train", *OWN, f"network={name}",
              f"network.config={config}", "parameterization=discrete", "sigma_max=150",
              "sigma_min=0.01")  # fmt: skip
    quick_cli("convert", "checkpoint=run", "output=folder", "format=diffusers")
    models = [sd.load(tmp_path / each) for each in ("run", "folder")]
    label: dict[str, Any] = {} if unlabelled else {"label": [0, 1]}
    levels = {"grid": [20.0, 3.0, 0.5, 0.1], "solver": "ddim", "nfe": 3}
    ours, theirs = (each.sample(2, **levels, **label) for each in models)
    assert torch.allclose(ours.x, theirs.x, atol=1e-5)
    assert int((ours.images.int() - theirs.images.int()).abs().max()) <= 1
    peer = opened_by_diffusers(tmp_path / "folder")
    assert type(peer).__name__ == pipeline
    noise = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    told = {"batch_size": 2} if unlabelled else {"class_labels": [0, 1], "guidance_scale": 1.0}
    drawn = peer(**told, generator=torch.Generator().manual_seed(3), num_inference_steps=4,
                 output_type="np").images  # fmt: skip
    own = models[1].sample(2, nfe=4, solver="ddim", x_T=noise, **label).images
    grey = own.permute(0, 2, 3, 1) / 255 - torch.from_numpy(drawn)
    assert float(grey.abs().max()) < 1 / 255


def opened_by_diffusers(folder: Path) -> Any:
    """The pipeline with DDIM on the same levels, in the place of steps with noise."""
    pipe = tiny.diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.scheduler = tiny.diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, set_alpha_to_one=True
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
