"""Files and folders of other kinds than are read: one line says what each is, and what to give."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.layout import weights_of
from sde_diffusion.models.sources.weights import stored

ONE = torch.zeros(2, 2)
SD = ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.encoder.conv_in.weight")


def tensors(*names: str) -> Callable[[Path], None]:
    return lambda path: save_file({name: ONE.clone() for name in names}, path)


def content(head: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(head) and None


def torch_file(value: object) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", b"\x80\x02).")


def folder(**files: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        for name, value in files.items():
            place = path / name.replace("__", "/").replace("_json", ".json")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(value)

    return make


def lora_folder(path: Path) -> None:
    path.mkdir()
    save_file({"unet.a.lora_A.weight": ONE}, path / "pytorch_lora_weights.safetensors")


STRANGERS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "Git LFS": ("a.safetensors", content(b"version https://git-lfs.github.com/spec/v1\n"),
                "pointer of Git LFS .* 'git lfs pull'"),
    "Git LFS of torch": ("a.pt", content(b"version https://git-lfs.github.com/spec/v1\n"),
                         "pointer of Git LFS"),
    "a web page": ("a.safetensors", content(b"<!DOCTYPE html>"), "web page and no model"),
    "nothing": ("a.safetensors", content(b""), "an empty file; fetch it again"),
    "GGUF": ("a.gguf", content(b"GGUF" + struct.pack("<IQQ", 3, 0, 0)), "is GGUF"),
    "HDF5": ("a.h5", content(b"\x89HDF\r\n\x1a\n"), "is HDF5"),
    "ONNX": ("a.onnx", content(b"\x08\x07\x12\x07pytorch"), "is an ONNX graph"),
    "TorchScript": ("a.pt", script, "a program of TorchScript"),
    "Stable Diffusion in one file": ("a.safetensors", tensors(*SD), r"from_single_file\(PATH\)"),
    "the same of Lightning": ("a.ckpt", torch_file({"state_dict": dict.fromkeys(SD, ONE)}),
                              r"from_single_file\(PATH\)"),
    "Flux in one file": ("a.safetensors", tensors("double_blocks.0.img_attn.qkv.weight"),
                         "whole pipeline in one file"),
    "a LoRA of diffusers": ("a.safetensors", tensors("unet.x.to_q.lora_A.weight"), "is a LoRA"),
    "a LoRA of kohya": ("a.safetensors", tensors("lora_unet_x.lora_down.weight"), "is a LoRA"),
    "a folder of a LoRA": ("a", lora_folder, "pytorch_lora_weights.safetensors in it, .* LoRA"),
    "a network's weights": ("a.safetensors", tensors("down_blocks.0.resnets.0.conv1.weight"),
                            "network of diffusers without what they are of"),
    "an autoencoder's weights": ("a.safetensors", tensors("encoder.conv_in.weight"),
                                 "is an autoencoder"),
    "a text encoder's weights": ("a.safetensors", tensors("text_model.embeddings.weight"),
                                 "is a text encoder"),
    "a textual inversion": ("a.safetensors", tensors("<cat>"), "a textual inversion, a word"),
    "one of A1111": ("a.pt", torch_file({"string_to_param": {"*": ONE}}), "a textual inversion"),
    "weights of anything": ("a.safetensors", tensors("fc.weight"), "network that is not known"),
    "a torch file of anything": ("a.pt", torch_file({"fc.weight": ONE}), "that is not known here"),
    "an index": ("model_index.json", content(b"{}"), "without its weights; give the folder"),
    "an empty folder": ("a", Path.mkdir, "an empty folder"),
    "a scheduler": ("a", folder(scheduler_config_json=b"{}"), "is a scheduler, a part"),
    "a folder of models": ("a", folder(own__model_index_json=b"{}"), "give checkpoint=.*own"),
    "a cache of the Hub": ("a", folder(snapshots__abc__model_index_json=b"{}"),
                           "cache of the Hub; give checkpoint=.*snapshots/abc"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_called_what_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, make, said = STRANGERS[name]
    make(Path(file))
    with pytest.raises(InputError, match=said) as caught:
        sd.load(file)
    assert str(caught.value).startswith(f"checkpoint={file}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["owner/name", "https://huggingface.co/owner/name"])
def test_a_name_of_the_hub_is_told_how_to_be_typed(name: str) -> None:
    with pytest.raises(InputError, match="or hub:owner/name of the Hub"):
        sd.load(name)


STATE = {"stem.weight": ONE + 1, "head.weight": ONE + 2}
OTHER = dict.fromkeys(STATE, ONE)


def before(mark: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{mark}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    "held",
    [
        STATE,
        before("module.", STATE),
        before("_orig_mod.", STATE),
        before("module._orig_mod.", STATE) | {"n_averaged": torch.tensor(3)},
        {"ema": STATE, "model": OTHER, "step": 3},
        {"ema_model": STATE, "model": OTHER},
        {"model_ema": STATE, "state_dict": OTHER},
        {"state_dict": before("model.", STATE), "epoch": 1},
        before("diffusion_model.", STATE),
        before("net.unet.", STATE),
        before("ema_model.", STATE) | before("online_model.", OTHER),
    ],
)
def test_weights_are_found_whatever_wraps_them(held: dict[str, Tensor]) -> None:
    """The averaged ones, by the names that the network has for them."""
    state, _ = weights_of(held, "anybody")
    assert state == STATE


def test_links_of_the_hubs_cache_are_followed_and_one_that_is_gone_is_told(tmp_path: Path) -> None:
    blob, link = tmp_path / "blob", tmp_path / "own.safetensors"
    save_file({"a": ONE}, blob)
    os.symlink(blob, link)
    assert list(stored(tmp_path, "own").tensors()) == ["a"]
    blob.unlink()
    with pytest.raises(InputError, match="a link to a file that is gone"):
        stored(tmp_path, "own")


def test_shards_of_a_variant_are_read(tmp_path: Path) -> None:
    files = {f"own.fp16-0000{k}-of-00002.safetensors": name for k, name in ((1, "a"), (2, "b"))}
    for file, name in files.items():
        save_file({name: ONE}, tmp_path / file)
    index = {"weight_map": {name: file for file, name in files.items()}}
    (tmp_path / "own.safetensors.index.fp16.json").write_text(json.dumps(index))
    assert sorted(stored(tmp_path, "own").tensors()) == ["a", "b"]
