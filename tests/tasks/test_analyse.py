"""``analyse`` as it is typed: its table is the exact error, its last line runs, it resumes."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from sde_diffusion import exact_error
from sde_diffusion.data import Digits, ImageSet, to_float
from sde_diffusion.errors import InputError
from sde_diffusion.process.spectrum import DataSpectrum
from sde_diffusion.tasks.analyse.spectra import dct, pca
from tests.conftest import Run

QUICK = ["analyse", "hydra.run.dir=out", "solvers=[ddim,heun]", "grids=[default,searched]",
         "nfe=[4,5]"]  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "analyse.csv").open() as file:
        return list(csv.DictReader(file))


def test_rows_are_the_exact_errors_on_the_covariance_of_the_data(
    quick_cli: Run, tmp_path: Path
) -> None:
    printed = quick_cli(*QUICK, "solvers=[ddim,heun,{sde2m:{solver:dpmpp_2m_sde,eta:0.5}}]").stdout
    found = {(r["solver"], r["grid"], r["nfe"]): float(r["error"]) for r in rows(tmp_path / "out")}
    assert len(found) == 3 * 2 * 2 - 2  # Heun spends two evaluations a step: not five
    x = to_float(Digits().load().images).flatten(1).double()
    cov, mean = torch.cov(x.T), x.mean(0)
    expected = exact_error("ddim", 5, cov, mean)
    assert found["ddim", "default", "5"] == pytest.approx(expected, rel=1e-6)
    expected = exact_error("dpmpp_2m_sde", 4, cov, mean, solver__eta=0.5)
    assert found["sde2m", "default", "4"] == pytest.approx(expected, rel=1e-6)
    assert found["ddim", "searched", "5"] < found["ddim", "default", "5"]
    for word in ("NFE 4", "ddim", "sde2m", "analyse.md"):
        assert word in printed
    page = (tmp_path / "out" / "analyse.md").read_text()
    assert "| sde2m | searched |" in page
    assert (tmp_path / "out" / "analyse.png").stat().st_size > 10000
    result = json.loads((tmp_path / "out" / "analyse.json").read_text())
    assert result["provenance"]["d"] == 64
    assert result["provenance"]["data_fingerprint"] == Digits().load().fingerprint


def test_the_last_line_is_a_command_that_runs(quick_cli: Run, tmp_path: Path) -> None:
    printed = quick_cli(*QUICK, "solvers=[ddim]", "sde=vp", "sde.beta_max=18", "sigma_max=40",
                        "grids=[{mine:{grid:searched,order:1}}]").stdout  # fmt: skip
    words = shlex.split(printed.strip().splitlines()[-1].partition("sde-diffusion ")[2])
    assert {"sde=vp", "sde.beta_max=18", "grid.sigma_max=40", "nfe=5"} <= set(words)
    quick_cli(*words, "n=1", "hydra.run.dir=drawn")
    config = json.loads((tmp_path / "drawn" / "result.json").read_text())["config"]
    assert config["grid"]["spectrum"].startswith("out/spectrum-pca-")
    assert config["sde"]["beta_max"] == 18


def test_the_spectrum_is_kept_and_used_again(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*QUICK)
    (path,) = (tmp_path / "out").glob("spectrum-*")
    first = rows(tmp_path / "out")
    known = DataSpectrum.load(path, "x")
    DataSpectrum(4 * known.variance, known.mean, known.name, known.kind).save(path)
    quick_cli(*QUICK)
    assert rows(tmp_path / "out") != first


def test_your_own_images(quick_cli: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=pixels)
    quick_cli(*QUICK, "data=npz", "data.path=mine.npz", "modes=dct", "grids=[karras]")
    facts = json.loads((tmp_path / "out" / "analyse.json").read_text())["provenance"]
    assert (facts["data"], facts["d"], facts["images"]) == ("mine.npz", 90, 20)


WRONG = {
    "solvers=[dopri]": ["solvers: dopri", "no linear map", "compare"],
    "solvers=[nosuch]": ["solver=nosuch", "no such choice"],
    "solvers=[ddim,ddim]": ["solvers: ddim twice"],
    "grids=[nosuch]": ["grid=nosuch", "no such choice"],
    "grids=[explicit]": ["grids: explicit needs levels", "{grid: explicit, levels: VALUE}"],
    "solvers=[heun],nfe=[5]": ["nfe=5", "4"],
    "nfe=[0]": ["nfe=[0]", "give 1 <= nfe"],
    "nfe=[]": ["nfe", "at least one"],
    "modes=svd": ["modes=svd", "pca"],
    "sigma_min=5,sigma_max=1": ["sigma_min=5", "sigma_max=1"],
    "sde=ve,sde.sigma_max=10": ["sigma_max=80", "lower sigma_max"],
    "data=npz,data.path=missing.npz": ["data.path=missing.npz"],
    "data.split=all": ["data.split=all"],
    "nosuchkey=1": ["nosuchkey", "unknown key"],
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_input_is_one_line(words: str, quick_cli: Run, tmp_path: Path) -> None:
    done = quick_cli(*QUICK, *words.replace(",", " ").replace("ddim ddim", "ddim,ddim").split(),
                     ok=False)  # fmt: skip
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert [line for line in lines if line.startswith("sde-diffusion:")] == lines[-1:], done.stderr
    for word in WRONG[words]:
        assert word in lines[-1]
    assert not (tmp_path / "out" / "analyse.csv").exists()


def images(*shape: int) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, None, 0, "noise")


def test_pca_is_streamed_and_equal_to_the_whole() -> None:
    data = images(2500, 2, 3, 2)
    x = to_float(data.images).flatten(1).double()
    found = pca(data)
    assert torch.allclose(found.variance.flip(0), torch.linalg.eigvalsh(torch.cov(x.T)), rtol=1e-9)
    assert float(found.mean.norm()) == pytest.approx(float(x.mean(0).norm()), rel=1e-9)


def test_dct_keeps_total_power_and_mean_and_knows_a_wave() -> None:
    data = images(1200, 3, 4, 4)
    x = to_float(data.images).flatten(1).double()
    found = dct(data)
    assert float(found.variance.sum()) == pytest.approx(float(x.var(0).sum()), rel=1e-9)
    assert float(found.mean.norm()) == pytest.approx(float(x.mean(0).norm()), rel=1e-9)
    # One cosine of random sign: a single mode holds all the power.
    wave = torch.cos(torch.pi / 8 * (2 * torch.arange(8) + 1))[:, None].expand(8, 8)
    sign = 1 - 2 * (torch.arange(40) % 2)
    pixels = (127.5 + 100 * sign[:, None, None, None] * wave).round().to(torch.uint8)
    variance = dct(ImageSet(pixels, None, 0, "wave")).variance
    assert float(variance[0] / variance.sum()) > 0.999


def test_large_images_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"modes=pca: 4107 pixels.*modes=dct.*data\.size=32"):
        pca(images(2, 3, 37, 37))
    assert len(dct(images(3, 3, 37, 37)).variance) == 4107
    with pytest.raises(InputError, match="1 image; give at least 2"):
        pca(images(1, 1, 4, 4))


def test_a_solver_that_was_fitted_to_a_network_is_refused(quick_cli: Run) -> None:
    done = quick_cli(*QUICK, "solvers=[calibrated]", ok=False)
    assert "calibrated was fitted to one network" in done.stderr
    with pytest.raises(InputError, match='solver="calibrated": fitted to one network'):
        exact_error("calibrated", 5, torch.eye(4))
