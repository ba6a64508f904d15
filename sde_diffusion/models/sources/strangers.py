"""What a path is that no source opens, and what to give in its place: one clause each."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sde_diffusion.models import inert
from sde_diffusion.system.sealed import ENTRY, check_header

HEAD = 2**20
FIRST = "sde_diffusion"  # of files of before they were sealed
# By the first bytes of a file.
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a pointer of Git LFS and not the file; run 'git lfs pull'"),
    (b"<", "is a web page and no model; download the file itself"),
    (b"GGUF", "is GGUF, quantised weights; give the diffusers folder that they were made of"),
    (b"\x1f\x8b", "is packed by gzip; unpack it, and give what is in it"),
    (b"\xfd7zXZ", "is packed by xz; unpack it, and give what is in it"),
    (b"7z\xbc\xaf", "is packed by 7-Zip; unpack it, and give what is in it"),
    (b"\x89HDF", "is HDF5, weights of Keras; give a file or folder of torch"),
)
NETWORK = "give the folder of its pipeline, model_index.json in it"
SINGLE = (
    "is a whole pipeline in one file; write it as a folder by diffusers' "
    "StableDiffusionPipeline.from_single_file(PATH).save_pretrained(FOLDER), or the pipeline of "
    "its own kind, and give that"
)
LORA = (
    "is a LoRA, a change to a model and no model; by diffusers fuse it into its pipeline, "
    "pipe.load_lora_weights(PATH), pipe.fuse_lora(), pipe.save_pretrained(FOLDER), and give that"
)
# By the names of weights; the first that matches.
NAMES: tuple[tuple[str, str], ...] = (
    (r"lora_(A|B|up|down)\b|^lora_|\.lora\.", LORA),
    (
        r"^string_to_param|^emb_params$|^<.+>$|^clip_[lg]$",
        "is a textual inversion, a word and no model; by diffusers "
        "pipe.load_textual_inversion(PATH), pipe.save_pretrained(FOLDER), and give that",
    ),
    (r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.", SINGLE),
    (r"^(double_blocks|joint_blocks|single_blocks)\.", SINGLE),
    (
        r"^(encoder|decoder)\.(conv_in|mid_block|down_blocks)\.",
        "is an autoencoder or its "
        "part, which draws nothing by itself; give the folder of its pipeline",
    ),
    (
        r"^(text_model|transformer\.text_model|encoder\.(layers|block)|shared)\.",
        f"is a text encoder, which draws nothing by itself; {NETWORK}",
    ),
    (
        r"^(down_blocks|up_blocks|transformer_blocks|time_embedding)\.",
        f"is weights of a network of diffusers without what they are of; {NETWORK}",
    ),
)
UNKNOWN = "is weights of a network that is not known here; give a folder of diffusers"
# Of an archive's entries.
ENTRIES: tuple[tuple[str, str], ...] = (
    (
        r"(serialized_exported_program|models/.*)\.json$",
        "is a program of torch.export and no weights; give the checkpoint that it was exported of",
    ),
    (r"(^|/)model_index\.json$", "is a packed folder; unpack it, and give the folder"),
    (r"/constants\.pkl$", "is a program of TorchScript and no weights; give its checkpoint"),
)


def told(path: Path) -> str | None:
    """What is known of a path that is no model here; None where nothing is."""
    return _of_folder(path) if path.is_dir() else _of_file(path)


def of_safetensors(path: Path) -> str | None:
    """What a sound file of safetensors without our entry is; None for ours, or a torn one."""
    try:
        check_header(path)
        with safe_open(path, framework="pt") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RecursionError):
        return by_magic(path)
    return None if {ENTRY, FIRST} & set(metadata) else _by_names(names)


def _of_file(path: Path) -> str | None:
    if (magic := by_magic(path)) is not None:
        return magic
    if path.suffix == ".onnx":
        return "is an ONNX graph and no weights; give the checkpoint that it was exported of"
    if path.suffix == ".json":
        return f"is a description without its weights; give the folder, checkpoint={path.parent}"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.namelist()
        for pattern, reason in ENTRIES:
            if any(re.search(pattern, entry) for entry in entries):
                return reason
    if not inert.is_pickle(path):
        return of_safetensors(path)
    with path.open("rb") as file:
        words = re.findall(rb"[\w.]{6,200}", file.read(HEAD))
    return _by_names([word.decode() for word in words])


def by_magic(path: Path) -> str | None:
    """What the first bytes of a file say that it is, if it is none of torch's."""
    if not path.is_file():
        return "is no plain file"
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "is an empty file; fetch it again"
    return next((reason for start, reason in MAGIC if head.lstrip()[: len(start)] == start), None)


def _by_names(names: Iterable[str]) -> str:
    listed = list(names)
    for pattern, reason in NAMES:
        if any(re.search(pattern, name) for name in listed):
            return reason
    return UNKNOWN


def _of_folder(path: Path) -> str | None:
    """A cache of the Hub, a folder of models, a part of a pipeline, weights without a config."""
    if (path / "snapshots").is_dir():
        revisions = sorted(each for each in (path / "snapshots").iterdir() if each.is_dir())
        return "is a cache of the Hub; give " + _one_of(revisions, "a revision of snapshots/")
    if (path / "scheduler_config.json").is_file():
        return f"is a scheduler, a part of a pipeline; {NETWORK}"
    inside = sorted(each for each in path.iterdir() if each.is_dir())
    models = [each for each in inside if (each / "model_index.json").is_file()]
    runs = [each for each in inside if (each / "model.safetensors").is_file()]
    if models or runs:
        return "holds models and is none; give " + _one_of([*models, *runs], "one of them")
    weights = sorted(path.glob("*.safetensors"))
    # Ours under a name that no run gives it, or torn: its own line says so.
    ours = [file for file in weights if of_safetensors(file) is None]
    if ours:
        return "holds a checkpoint and is none; give " + _one_of(ours, "it")
    if weights:
        return f"has {weights[0].name} in it, which {of_safetensors(weights[0])}"
    return None if any(path.iterdir()) else "is an empty folder; give one with a model"


def _one_of(paths: list[Path], other: str) -> str:
    return f"checkpoint={paths[0]}" + (", say" if len(paths) > 1 else "") if paths else other
