"""Random damage to the files that the package writes: the right content, or one line.

Bits flipped, ends cut off, headers that lie, pieces repeated: of a checkpoint, a calibration, a
reference and the cell of a comparison, each as small as can be.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors import PixelExtractor
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.models.file import read_checkpoint, save_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.tasks.compare.cell import Cell, load_cell, save_cell
from tests.robustness.draws import Draws

EXTRACTOR = PixelExtractor(1, 1, 4, 4)
DEPENDS = {"model": "abc", "seeds": [0, 1]}
Damage = Callable[[bytes, Draws], bytes]


def write_checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    spec = Spec("mlp", {"d": 2, "width": 4, "depth": 1}, "karras", {"sigma_data": 1.0}, (2,))
    save_checkpoint(path, spec, {"model.w": torch.randn(4, 4)})


def write_calibration(path: Path) -> None:
    levels = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64)
    rule = Rule(levels, levels[:-1].clone(), torch.diag(levels.diff()))
    law = Normal(torch.zeros(2).double(), torch.eye(2).double(), torch.ones(2).double(), 0.01)
    Calibration("abc", False, (2,), 80.0, law, {2: rule}).save(path)


def write_reference(path: Path) -> None:
    images = torch.arange(96, dtype=torch.uint8).reshape(6, 1, 4, 4)
    ReferenceSet.of(EXTRACTOR, ImageSet(images, None, 0, "six")).save(path)


def write_cell(path: Path) -> None:
    features = torch.arange(8.0, dtype=torch.float64).reshape(2, 4)
    images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    save_cell(path, Cell(features, images, 4.0, 0.1, {"date": "today"}), DEPENDS)


def read_cell(path: Path) -> Any:
    cell = load_cell(path, DEPENDS)  # a damaged one is made again, with a line on stderr
    if cell is None:
        raise InputError(f"cell={path}: made again")
    return (cell.features.tolist(), cell.images.tolist(), cell.nfe, cell.seconds, cell.origin)


def plain_checkpoint(path: Path) -> Any:
    spec, tensors = read_checkpoint(path)
    return spec, {name: value.tolist() for name, value in tensors.items()}


def plain_calibration(path: Path) -> Any:
    read = Calibration.load(path)
    law = read.normal
    return read.identity(), read.shape, read.sigma_max, read.model, law.rest, list(read.rules)


def plain_reference(path: Path) -> Any:
    read = ReferenceSet.load(path, EXTRACTOR)
    return read.name, read.shape, read.stats.n, [t.tolist() for t in read._tensors().values()]


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "checkpoint": (write_checkpoint, plain_checkpoint),
    "calibration": (write_calibration, plain_calibration),
    "reference": (write_reference, plain_reference),
    "cell": (write_cell, read_cell),
}


def flipped(content: bytes, draw: Draws) -> bytes:
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 8))):
        damaged[draw.below(len(damaged))] ^= 1 << draw.below(8)
    return bytes(damaged)


def cut(content: bytes, draw: Draws) -> bytes:
    return content[: draw.below(len(content))]


def longer_header(content: bytes, draw: Draws) -> bytes:
    return (
        draw.choice((0, 1, 7, 2**20, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little") + content[8:]
    )


def lying_header(content: bytes, draw: Draws) -> bytes:
    """A digit of the header, of an offset or a shape, say, is another one."""
    end = 8 + int.from_bytes(content[:8], "little")
    digits = [k for k in range(8, end) if content[k : k + 1].isdigit()]
    at = digits[draw.below(len(digits))]
    digit = str((int(content[at : at + 1]) + 1 + draw.below(9)) % 10)
    return content[:at] + digit.encode() + content[at + 1 :]


def repeated(content: bytes, draw: Draws) -> bytes:
    start = draw.below(len(content))
    return content[:start] + content[start : start + 64] + content[start:]


def blank(content: bytes, draw: Draws) -> bytes:
    """A sector that a disk did not write."""
    start = draw.below(len(content))
    size = min(64, len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


DAMAGES: dict[str, Damage] = {
    each.__name__: each for each in (flipped, cut, longer_header, lying_header, repeated, blank)
}


@dataclass(frozen=True)
class Damaged:
    """A file of a kind, damaged once; ``first`` is the first byte that is another."""

    kind: str
    damage: str
    first: int
    content: bytes = field(repr=False)


@cache
def whole(kind: str) -> tuple[bytes, Any]:
    """An undamaged file, and what is read from it."""
    write, read = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{kind}.safetensors")
        write(path)
        return path.read_bytes(), read(path)


def drawn(draw: Draws, kinds: tuple[str, ...] = (), damages: tuple[str, ...] = ()) -> Damaged:
    """A damaged file of one of these kinds, or of any."""
    kind, damage = draw.choice(kinds or tuple(KINDS)), draw.choice(damages or tuple(DAMAGES))
    before, _ = whole(kind)
    content = DAMAGES[damage](before, draw)
    same = (a == b for a, b in zip(content, before, strict=False))
    first = next((k for k, each in enumerate(same) if not each), min(len(content), len(before)))
    return Damaged(kind, damage, first, content)


def outcome(case: Damaged) -> tuple[str, str]:
    """``right``, ``refused`` or ``fault``, and what was said."""
    read, said = KINDS[case.kind][1], io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(said):
        path = Path(folder, f"{case.kind}.safetensors")
        path.write_bytes(case.content)
        try:
            same = read(path) == whole(case.kind)[1]
        except InputError as error:
            line = said.getvalue().strip() or str(error)
            return judged_line(line, path)
        except Exception as error:
            return "fault", f"{case}: {type(error).__name__}: {error}"
    return ("right", "") if same else ("fault", f"{case}: another content")


def judged_line(line: str, path: Path) -> tuple[str, str]:
    """One printable line of some length that names the file."""
    good = line.isprintable() and path.name in line and len(line) < len(str(path)) + 500
    return ("refused", line) if good else ("fault", f"refused badly: {line}")
