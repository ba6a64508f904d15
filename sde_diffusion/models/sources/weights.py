"""Weights and configs of other people's folders, read with bounds and without running anything."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.models import inert
from sde_diffusion.models.sources.layout import state_of
from sde_diffusion.models.sources.strangers import by_magic
from sde_diffusion.system import strict_json
from sde_diffusion.system.sealed import check_header

MAX_JSON = 16 * 2**20
MAX_SHARDS = 1000
TORCH = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # as safetensors call them


def json_file(path: Path) -> dict[str, Any]:
    """The object of a JSON file of at most ``MAX_JSON`` bytes; InputError for anything else."""
    if not path.is_file():
        raise InputError(f"{path.name}: no such file in the folder")
    if path.stat().st_size > MAX_JSON:
        raise InputError(f"{path.name}: {path.stat().st_size} bytes are no config")
    try:
        value = strict_json.loads(path.read_bytes(), finite=False)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name}: no JSON ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path.name}: holds a {type(value).__name__}, not an object")
    return value


@dataclass(frozen=True)
class Stored:
    """The files that a network's weights are in."""

    paths: tuple[Path, ...]

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name; InputError for what is no file of tensors."""
        held: dict[str, Tensor] = {}
        for path in self.paths:
            part = _pickled(path) if path.suffix == ".bin" else safetensors_of(path)
            twice = sorted(set(held) & set(part))
            if twice:
                raise InputError(f"{path.name}: {twice[0]} stands in another file too")
            held |= part
        return held


def stored(folder: Path, stem: str) -> Stored:
    """The weights called ``stem`` in a folder: safetensors before ``.bin``, whole or in shards."""
    for kind in ("safetensors", "bin"):
        whole = folder / f"{stem}.{kind}"
        if whole.is_file() and (folder / f"{whole.name}.index.json").is_file():
            raise InputError(
                f"{folder.name}: has {whole.name}, and shards of it too ({whole.name}.index.json), "
                "which may be others; keep one of the two"
            )
        if whole.is_file():
            return Stored((whole,))
        indices = [folder / f"{whole.name}.index.json", *folder.glob(f"{whole.name}.index.*.json")]
        there = [path for path in indices if path.is_file()]
        if len(there) == 1:  # or of a variant
            return Stored(_shards(folder, json_file(there[0]), kind))
        variants = sorted(folder.glob(f"{stem}.*.{kind}"))
        if len(variants) == 1:
            return Stored((variants[0],))
        if variants:
            raise InputError(
                f"{folder.name}: has no {stem}.{kind}, but {len(variants)} variants; keep one"
            )
    raise InputError(f"{folder.name}: {_without(folder, stem)}")


def _without(folder: Path, stem: str) -> str:
    """What a folder has in the place of weights, and what to do."""
    if (folder / "pytorch_model.bin").is_file():
        return (
            "pytorch_model.bin is a pickle, which is not run; where you trust it, open the "
            "pipeline by diffusers' from_pretrained and write it by save_pretrained"
        )
    if (folder / f"{stem}.safetensors").is_symlink():
        return f"{stem}.safetensors is a link to a file that is gone; fetch it again"
    if any(folder.glob("*.msgpack")):
        return (
            f"has no {stem}.safetensors, but weights of Flax; write them by diffusers' "
            "from_pretrained(PATH, from_flax=True).save_pretrained(FOLDER), and give that"
        )
    if shards := sorted(folder.glob(f"{stem}*-of-*")):
        kind = shards[0].suffix
        return f"has {shards[0].name}, but no {stem}{kind}.index.json; fetch that too"
    others = sorted(each for each in folder.glob("*") if each.suffix in TORCH)
    if len(others) == 1:
        kind = ".safetensors" if others[0].suffix == ".safetensors" else ".bin"
        return f"has no {stem}{kind}; call {others[0].name} so, if it has its weights"
    return f"has no {stem}.safetensors, no shards of it and no .bin; fetch them too"


def check_not_quantised(paths: Iterable[Path], part: str) -> None:
    """InputError for files of safetensors whose weights are no floats; places are no weights.

    Args:
        part: what a message calls the files.
    """
    for path in paths:
        if path.suffix != ".safetensors":
            continue
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118
                dtype = str(file.get_slice(name).get_dtype())
                if not dtype.startswith(FLOATS) and "position_ids" not in name:
                    raise InputError(
                        f"{part}: {path.name}: {name[:80]} is of {dtype}, no floats: quantised, or "
                        "no weights, which is not read; give the weights as they were before"
                    )


def _shards(folder: Path, index: dict[str, Any], kind: str) -> tuple[Path, ...]:
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(v, str) for v in listed.values()):
        raise InputError("index of the shards: weight_map is no map of names")
    names = sorted(set(listed.values()))
    if len(names) > MAX_SHARDS:
        raise InputError(f"index of the shards: {len(names)} files; at most {MAX_SHARDS} are read")
    for name in names:
        if Path(name).name != name or not name.endswith(f".{kind}"):
            raise InputError(f"index of the shards: {name[:60]!r} is no file of the folder")
        if not (folder / name).is_file():
            raise InputError(f"index of the shards: {name[:60]} is not there")
    return tuple(folder / name for name in names)


def safetensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors by name; InputError for what is none, or torn."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file of safetensors; InputError for what is none, or for what turns out to be torn."""
    try:
        check_header(path)
        with safe_open(path, framework="pt") as file:
            yield file
    except InputError:
        raise
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        if (stranger := by_magic(path)) is not None:
            raise InputError(f"{path.name}: {stranger}") from None
        raise InputError(f"{path.name}: torn, or no safetensors ({str(error)[:80]})") from None


def _pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch file; whatever else is pickled in it is refused, not run."""
    if not zipfile.is_zipfile(path):  # from before zip, or torn
        return _named(path, inert.read(path))
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > 2 * path.stat().st_size + 2**20:
            raise InputError(f"{path.name}: unpacks to {unpacked} bytes, far more than it has")
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is none makes torch raise
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:80]
        raise InputError(
            f"{path.name}: is not read: it holds more than tensors, or is torn ({reason}); "
            "convert it to safetensors where you trust it"
        ) from None
    return _named(path, held)


def _named(path: Path, held: Any) -> dict[str, Tensor]:
    """The tensors of a torch file by name, averages before others; InputError for what is more."""
    try:
        state, _ = state_of(held)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None
    if state is None:
        raise InputError(f"{path.name}: holds more than tensors by name; write them as safetensors")
    return {str(name): value.detach() for name, value in state.items()}
