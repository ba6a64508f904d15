"""EDM's and EDM2's networks: ours are the same function, on weights read from their files."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

import sde_diffusion
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.models.sources import edm
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.sampling.start import FromNoise
from sde_diffusion.solvers.heun import Heun
from tests.models.foreign.files import edm_pickle, foreign_names, nested
from tests.models.foreign.records import N, image, record, start

NAMES = ["edm_ddpmpp", "edm_ncsnpp", "edm_skip", "edm_adm", "edm_vp", "edm_iddpm", "edm2"]


def denoiser_of(name: str) -> NetworkDenoiser:
    """Ours, of the recorded arguments and weights."""
    facts, state, _ = record(name)
    spec, weights, _ = edm.converted(facts["class"], facts["kwargs"], state)
    denoiser = spec.build()
    denoiser.network.load_state_dict(weights)
    return denoiser.eval()


@torch.no_grad()
def gap(name: str) -> float:
    """Of D at eight levels, with labels and without, relative to its largest value at a level."""
    tensors, denoiser = record(name).tensors, denoiser_of(name)
    sigma = tensors["sigma"]
    x = image(denoiser.shape[0]) * (1 + sigma[:, None, None, None] ** 2).sqrt()
    labels, gaps = Condition.label(torch.arange(N) % 5), []
    for cond, key in ((None, "none"), (labels, "labelled")):
        ours = torch.cat(
            [
                denoiser(x[i : i + 1], sigma[i], None if cond is None else cond[i : i + 1])
                for i in range(N)
            ]
        )
        apart = (ours - tensors[key]).flatten(1).abs().amax(1)
        gaps.append(float((apart / tensors[key].flatten(1).abs().amax(1)).max()))
    return max(gaps)


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_authors_at_eight_levels(name: str) -> None:
    """D to 1e-5 of its largest value, in float32, with labels and without."""
    assert gap(name) <= 1e-5
    tensors = record(name).tensors
    assert not torch.allclose(tensors["none"], tensors["labelled"], atol=1e-3)


def test_latents_are_refused_in_one_line(tmp_path: Path) -> None:
    """They would be drawn as pictures of four channels."""
    with pytest.raises(
        InputError, match=r"latents of 4 channels.*give a model of pixels"
    ) as caught:
        sde_diffusion.load(edm_pickle(tmp_path / "net.pkl", "edm2"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["edm_ncsnpp", "edm_adm"])
def test_a_pickle_is_opened_by_its_content(tmp_path: Path, name: str) -> None:
    """Whatever its ending: the same function as of the recorded weights."""
    model = sde_diffusion.load(edm_pickle(tmp_path / "net.bin", name))
    expected, x = denoiser_of(name), image(model.denoiser.shape[0])
    level = torch.tensor(1.5)
    with torch.no_grad():
        assert torch.equal(model.denoiser(x, level), expected(x, level))
    said = {finding.key: finding.value for finding in model.findings}
    assert said["prediction"] == "karras"
    assert said["classes"] == "5"


def changed(path: Path, key: str = "ema", name: str | None = None, **arguments: object) -> Path:
    """The pickle of a network under another key, another class, or with other arguments."""
    facts, state, _ = record("edm_ddpmpp")
    with foreign_names():
        net = nested(state, name or facts["class"], {**facts["kwargs"], **arguments})
        path.write_bytes(pickle.dumps({key: net, "loss_fn": None}))
    return path


def test_the_only_network_of_a_pickle_is_taken_under_any_name(tmp_path: Path) -> None:
    model = sde_diffusion.load(changed(tmp_path / "net.pkl", "net", dropout=0.1, use_fp16=True))
    x = image(3)
    with torch.no_grad():
        expected = denoiser_of("edm_ddpmpp")(x, torch.tensor(1.5))
        assert torch.equal(model.denoiser(x, torch.tensor(1.5)), expected)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "ECMPrecond"}, r"holds ECMPrecond and no network of EDM"),
        ({"attn_window": 7}, r"attn_window=7: an argument that is not known here"),
        ({"label_dim": 7}, r"weight embed_class.weight is of shape"),
        ({"encoder_type": "skip"}, r"weights have no .*aux_skip"),
        ({"sigma_data": 0.0}, r"sigma_data=0.0: give a number > 0"),
    ],
)
def test_a_pickle_that_is_another_network_or_lies_is_one_line(
    tmp_path: Path, given: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        sde_diffusion.load(changed(tmp_path / "net.pkl", **given))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def heun_gap() -> float:
    """The six levels of theirs, of which the last step, to zero, is our last denoising."""
    sampler = Sampler.build(
        EDM(), denoiser_of("edm_ddpmpp"), Heun(), Karras(), denoise_last=True
    )  # fmt: skip
    cond = Condition.label([0, 1])
    drawn = sampler.sample(Request(seeds=[0, 1], nfe=11, cond=cond, start=FromNoise(start()))).x
    expected = record("edm_ddpmpp").tensors["heun"]
    return float((drawn - expected).abs().max() / expected.abs().max())


def test_our_heun_is_edms_sampler() -> None:
    assert heun_gap() <= 1e-4
