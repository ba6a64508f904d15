"""Command lines drawn at random, typed in full: pictures that are finite, or one line.

Sampling and editing, with every operator, method of the posterior and guidance, sentences, labels,
seeds and sizes, one of every few values hostile. A command ends with status 0 and its result, or
with status 2, one line that names a key, and nothing left behind.
"""

from __future__ import annotations

import json
import random
import re
import signal
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from sde_diffusion.config import groups
from sde_diffusion.system.identity import TARGET
from tests.robustness.configs import KEY
from tests.robustness.jobs import CPU, TRACEBACK, Ended, Job
from tests.tiny_model import write_tiny

HOSTILE = (
    "nan", "inf", "-inf", "1e308", "0", "-1", "1.5", "text", "", "[]", "[1,2]", "{a:1}", "null",
    "true", "18446744073709551616", "a b", "größe", "a,b", "'", "${x}", "1e11", "[[1]]", "-1e-308",
)  # fmt: skip
SENTENCES = (
    "a red circle", "", "[", "a, b", "null", 'a "red" circle', "$x", "größe",
    "a red circle left of a blue square",
)  # fmt: skip
SECONDS = 540.0  # of the clock; of a processor jobs.CPU
REMEDY = re.compile(
    r"give|choose|set |loosen|check|leave|lower|change|move|make|type|must|takes|calibrate|quote"
    r"|lists|put|use|bring|did you mean|install"
)


@cache
def desk() -> Path:
    """A folder with a model of 8 x 8 pixels, pictures and a mask, for as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="commands"))
    write_tiny(folder / "tiny.safetensors", 3)
    rng = np.random.default_rng(0)
    for name, side in (("a.png", 8), ("large.png", 12), ("b.png", 8)):
        Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(folder / name)
    hole = np.zeros((8, 8), np.uint8)
    hole[2:6, 3:6] = 255
    Image.fromarray(hole).save(folder / "hole.png")
    return folder


def drawn(seed: int) -> list[str]:
    """The words of a seed."""
    rng = random.Random(seed)
    task = rng.choice(("sample", "sample", "edit", "edit", "prompt"))
    words = [_sample, _edit, _prompt][("sample", "edit", "prompt").index(task)](rng)
    for at in range(1, len(words)):
        if rng.random() < 0.04:
            key = words[at].partition("=")[0]
            words[at] = f"{key}={rng.choice(HOSTILE)}"
    return words


def _common(rng: random.Random) -> list[str]:
    return [
        f"n={rng.choice((1, 2, 3))}", f"nfe={rng.choice((1, 2, 4, 5, 8))}",
        f"dtype={rng.choice(('float32', 'float64'))}", f"batch_size={rng.choice((1, 2, 128))}",
        f"denoise_last={rng.choice(('true', 'false'))}",
    ]  # fmt: skip


def _component(rng: random.Random, group: str, name: str, key: str = "") -> list[str]:
    """A choice and, now and then, a field of it that is another or hostile."""
    words = [f"{group}={name}"]
    for field, usual in groups.node(group, name).items():
        if field == TARGET or type(usual) not in (int, float, bool, str, type(None)):
            continue
        if rng.random() < 0.1:
            words.append(f"{key or group}.{field}={rng.choice(HOSTILE)}")
        elif rng.random() < 0.3 and type(usual) in (int, float):
            words.append(f"{key or group}.{field}={type(usual)(usual * rng.choice((0.5, 2)))}")
    return words


def _sample(rng: random.Random) -> list[str]:
    words = ["sample", "checkpoint=tiny.safetensors", *_common(rng)]
    words.append(f"label={rng.choice(('null', 'all', '0', '2', '[0,1]'))}")
    solver = rng.choice(groups.names("solver"))
    words += _component(rng, "solver", solver)
    if rng.random() < 0.4:
        words += _component(rng, "sde", rng.choice(groups.names("sde")))
    if rng.random() < 0.3:
        name = rng.choice(groups.names("guidance"))
        words += _component(rng, "guidance", name, f"guidance.{name}")
    if rng.random() < 0.2:
        words.append(
            rng.choice(("seeds=0-2", "seeds=[4294967296]", "size=[12,12]", "seamless=true"))
        )
    if rng.random() < 0.1:
        words += ["start=a.png", f"strength={rng.choice((0.1, 0.9))}"]
    return words


def _edit(rng: random.Random) -> list[str]:
    image = rng.choice(("a.png", "a.png", "large.png", "b.png"))
    words = ["edit", f"image={image}", "checkpoint=tiny.safetensors", *_common(rng)]
    if rng.random() < 0.5:
        words.append(rng.choice(("mask=hole.png", "extend=[0,2,0,2]", "mask=hole.png")))
    else:
        words += ["simulate=true"]
        words += _component(rng, "operator", rng.choice(groups.names("operator")))
    if rng.random() < 0.8:
        words += _component(rng, "method", rng.choice(groups.names("method")))
    words.append(f"strength={rng.choice((1, 0.5))}")
    if rng.random() < 0.3:
        words.append(f"fit={rng.choice(('squash', 'crop', 'pad'))}")
    return words


def _prompt(rng: random.Random) -> list[str]:
    words = ["sample", "checkpoint=shapes", "n=1", f"nfe={rng.choice((1, 2))}"]
    words.append(f"prompt={rng.choice(SENTENCES)}")
    if rng.random() < 0.3:
        words += [f"negative={rng.choice(SENTENCES)}", "guidance=cfg"]
    return words


def outcome(seed: int) -> tuple[str, str]:
    """``images``, ``refused`` or ``fault``, and what was said."""
    words, name = drawn(seed), f"out{seed}"
    out = desk() / name
    try:
        ended = Job([*words, f"hydra.run.dir={name}"], desk(), name=f"printed{seed}").wait(SECONDS)
    except TimeoutError as error:
        return "fault", f"{' '.join(words)}: {error}"
    kind, said = judged(ended, out)
    return kind, f"{' '.join(words)}: {said}" if kind == "fault" else said


def judged(ended: Ended, out: Path) -> tuple[str, str]:
    """The end of a command by its status, its last line and its folder."""
    lines = ended.stderr.strip().splitlines()
    last = lines[-1].rpartition("sde-diffusion: ")[2] if lines else ""
    if ended.status == TRACEBACK or "Traceback" in ended.stderr:
        return "fault", f"traceback: {last}"
    if ended.status == 2:
        good = KEY.match(last) and REMEDY.search(last) and len(last) < 900
        if good and out.exists():
            return "fault", f"left behind {sorted(path.name for path in out.iterdir())}: {last}"
        return ("refused", last) if good else ("fault", f"refused badly: {last}")
    if ended.status == -signal.SIGXCPU:
        return "fault", f"no end in {CPU} s of a processor"
    if ended.status != 0:
        return "fault", f"status {ended.status}: {last}"
    for path in out.glob("*.npz"):
        with np.load(path) as held:
            arrays = [held[name] for name in held.files if held[name].dtype.kind == "f"]
        if not all(np.isfinite(array).all() for array in arrays):
            return "fault", f"{path.name} is not finite"
    json.loads((out / "result.json").read_text())
    return "images", ""
