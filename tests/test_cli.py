"""The command line as a newcomer types it."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

import sde_diffusion
from sde_diffusion.cli import with_task
from sde_diffusion.config.compose import compose_task
from sde_diffusion.config.groups import conf_dir
from tests.conftest import Run

QUICK = ["sample", "n=2", "nfe=2", "solver=ddim", "hydra.run.dir=out"]


def processor_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Of the processes that ``work`` starts; other work on the machine is not counted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def test_help_names_tasks_and_groups_in_a_second(cli: Run) -> None:
    """Alone it takes .8 s, 5 times as long as to import the composer; beside other work both take
    longer. The least of three of each."""
    importing = [sys.executable, "-c", "import hydra.main, hydra._internal.hydra"]
    helped, imported = [], []
    for _ in range(3):
        imported.append(processor_seconds(lambda: subprocess.run(importing, check=True))[0])
        spent, done = processor_seconds(lambda: cli("--help"))
        helped.append(spent)
    assert min(helped) < 7 * min(imported)
    for word in ("compare", "sample", "train", "evaluate", "solver", "guidance"):
        assert word in done.stdout


def test_version_is_the_packages_own(quick_cli: Run) -> None:
    """The composer's own was printed."""
    assert quick_cli("--version").stdout == f"sde_diffusion {sde_diffusion.__version__}\n"


@pytest.mark.parametrize("task", [path.stem for path in Path(conf_dir(), "task").glob("*.yaml")])
def test_help_of_a_task_explains_each_of_its_keys(task: str, quick_cli: Run) -> None:
    printed = quick_cli(task, "--help").stdout
    before, _, after = printed.partition(f"Keys of {task}:")
    assert len(before.splitlines()) < 10  # they come first, below what the task does
    shown = after.partition("Choices of each group")[0]
    config = compose_task([f"task={task}"])
    own = [str(key) for key in config if not OmegaConf.is_config(config._get_node(key))]
    assert len(own) > 1
    for key in {*own} - {"task"}:
        assert re.search(rf'^  "?{key}"?: ', shown, re.MULTILINE), key


def test_cfg_job_prints_the_config_of_a_task(quick_cli: Run) -> None:
    assert "rho: 3" in quick_cli("sample", "solver=ddim", "grid.rho=3", "--cfg", "job").stdout


def test_completion_script_offers_solvers(cli: Run) -> None:
    done = cli("-sc", "query=bash", env={"COMP_LINE": "sde-diffusion sde=", "COMP_POINT": "18"})
    assert "sde=flow" in done.stdout


def test_sample_writes_images_seeds_and_measured_nfe(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli("sample", "seeds=3-6", "nfe=4", "hydra.run.dir=out", "trajectory=true")
    with np.load(tmp_path / "out" / "samples.npz") as file:
        assert file["images"].shape == (4, 28, 28, 1)
        assert file["images"].dtype == np.uint8
        assert file["seeds"].tolist() == [3, 4, 5, 6]
        assert file["trajectory"].shape[1] == 4
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["nfe"] == 4
    assert result["format"] == 1
    assert (tmp_path / "out" / "grid.png").stat().st_size > 500


def test_one_image_is_no_plural(quick_cli: Run) -> None:
    assert quick_cli(*QUICK, "n=1").stdout.startswith("1 image, 2 evaluations each")
    assert quick_cli(*QUICK, "hydra.run.dir=two").stdout.startswith("2 images, ")


def test_guidance_counts_the_pair(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*QUICK, "label=7", "guidance=[cfg,clip]", "guidance.cfg.scale=2", "nfe=4")
    assert json.loads((tmp_path / "out" / "result.json").read_text())["nfe"] == 4


def test_same_command_same_folder_other_seeds_another(quick_cli: Run, tmp_path: Path) -> None:
    for seeds in ("0-1", "0-1", "2-3"):
        quick_cli("sample", f"seeds={seeds}", "nfe=1", "solver=ddim")
    assert len(list((tmp_path / "outputs").iterdir())) == 2


WRONG = {
    "nfe=abc": ["nfe", "abc"],
    "nfe=-3": ["nfe", "-3"],
    "n=0": ["n=0"],
    "batch_size=-1": ["batch_size"],
    "nosuchkey=1": ["nosuchkey", "unknown key"],
    "solver=nosuch": ["solver", "nosuch", "unipc"],
    "solver=heun,nfe=3": ["nfe=3", "2"],
    "checkpoint=missing.safetensors": ["checkpoint", "missing.safetensors"],
    "sde=ve,sde.sigma_max=10": ["sigma_max"],
    "grid.sigma_min=0.0001": ["grid.sigma_min", "0.002"],
    "grid.sigma_min=abc": ["grid.sigma_min", "abc"],
    "label=11": ["label=11"],
    "device=warp": ["device=warp"],
    "dtype=int8": ["dtype=int8", "float32"],
    "precision=half": ["precision=half", "bfloat16"],
    "seeds=a-b": ["seeds=a-b"],
    "solver._target_=os.system": ["solver._target_", "os.system"],
    "solver._target_=sde_diffusion.system.storage.os.system": ["solver._target_"],
    "guidance=cfg,label=null,nfe=4": ["guidance=cfg", "label"],
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_input_is_one_line_that_names_the_key(
    words: str, quick_cli: Run, tmp_path: Path
) -> None:
    done = quick_cli(*QUICK, *words.split(","), ok=False)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("sde-diffusion:")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in WRONG[words]:
        assert word in lines[0]
    assert not (tmp_path / "out").exists()


def test_unknown_task_is_one_line(quick_cli: Run) -> None:
    done = quick_cli("smaple", ok=False)
    assert done.returncode != 0
    assert "sample" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_failing_job_leaves_the_other_jobs_of_a_sweep_alone(cli: Run, tmp_path: Path) -> None:
    done = cli(
        "sample", "--multirun", "solver=heun", "nfe=2,3,4", "n=2", "hydra.sweep.dir=sweep", ok=False
    )
    assert done.returncode != 0
    assert [(tmp_path / "sweep" / str(k) / "samples.npz").exists() for k in range(3)] == [
        True, False, True,
    ]  # fmt: skip
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["-m sample n=1", "sample -m n=1", "sample n=1 -m"])
def test_overrides_may_stand_around_flags(words: str) -> None:
    assert with_task(words.split()) == ["-m", "task=sample", "n=1"]


def test_a_flags_value_is_no_task() -> None:
    assert with_task(["--cfg", "job", "train"]) == ["--cfg", "job", "task=train"]


def test_config_dir_adds_a_choice(quick_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "mine" / "grid").mkdir(parents=True)
    (tmp_path / "mine" / "grid" / "steep.yaml").write_text(
        "_target_: sde_diffusion.process.grids.Karras\n"
        "rho: 9.0\nsigma_min: 0.002\nsigma_max: 80.0\n"
    )
    quick_cli("--config-dir", "mine", *QUICK, "grid=steep")
    assert json.loads((tmp_path / "out" / "result.json").read_text())["config"]["grid"]["rho"] == 9


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sde_diffusion.cli", "train", "--cfg", "job"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            command, stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_folder_that_cannot_be_made_is_one_line(quick_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = quick_cli(*QUICK[:-1], "hydra.run.dir=file/out", ok=False)
    assert done.returncode == 2
    assert "file/out: Not a directory; give a folder that can be written, hydra.run.dir=" in (
        done.stderr
    )
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_refused_job_leaves_the_folder_that_one_is_in(quick_cli: Run, tmp_path: Path) -> None:
    here = tmp_path / "empty"
    here.mkdir()
    done = quick_cli("sample", "n=-3", f"hydra.run.dir={here}", ok=False)
    assert done.returncode == 2
    assert not here.exists()
    done = quick_cli("sample", "n=-3", "hydra.run.dir=.", ok=False)
    assert done.returncode == 2
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_size_may_be_one_number(quick_cli: Run, tmp_path: Path, tiny_model: str) -> None:
    words = ("sample", f"checkpoint={tiny_model}", "n=2", "nfe=2", "hydra.run.dir=out")
    quick_cli(*words, "size=12")
    both = np.load(tmp_path / "out" / "samples.npz")["images"]
    quick_cli(*words, "size=[12,12]")
    assert np.array_equal(np.load(tmp_path / "out" / "samples.npz")["images"], both)
    assert both.shape[1:3] == (12, 12)
