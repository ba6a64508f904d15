"""Files and folders of other kinds than are read: one line says what each is, and what to give."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import sde_diffusion as sd
from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.layout import weights_of
from sde_diffusion.models.sources.weights import stored
from tests.models.foreign.records import record
from tests.tiny_model import write_tiny

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


def packed(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("own/model_index.json", "{}")


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
    "gzip": ("a.pt.gz", content(b"\x1f\x8b\x08"), "packed by gzip; unpack it"),
    "a packed folder": ("a.zip", packed, "a packed folder; unpack it"),
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


def test_a_path_that_nothing_stands_at_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The empty one of a variable that was never set was the folder one is in."""
    write_tiny(tmp_path / "model.safetensors", 0)
    monkeypatch.chdir(tmp_path)
    assert sd.load(".").classes == 0
    for given, says in (
        ("", "checkpoint=: an empty path; give"),
        ("a" * 5000, "no such file or folder; give"),
        ("MNIST", "did you mean mnist"),
        ("/dev/null", "no plain file; give"),
    ):
        with pytest.raises(InputError, match=says):
            sd.load(given)


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
        # Of an average under another name the twin took the raw weights beside it.
        {"net": OTHER, "net_ema": STATE},
        {"EMA": STATE, "model": OTHER},
        {"params": OTHER, "params_ema": STATE},
        {"ema": {"shadow": STATE, "decay": 0.99}, "model": OTHER},
        {"ema": None, "model": STATE},
        {"generator": STATE, "optimizer": {"state": {}, "param_groups": []}},
        before("model.", OTHER) | before("model_ema.", STATE),
        before("model.", OTHER)
        | {f"model_ema.{name.replace('.', '')}": value for name, value in STATE.items()}
        | {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(3)},
    ],
)
def test_weights_are_found_whatever_wraps_them(held: dict[str, Tensor]) -> None:
    """The averaged ones, by the names that the network has for them."""
    state, _ = weights_of(held, "anybody")
    assert state == STATE


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"model": STATE, "ema": {"shadow_params": [ONE]}}, "its average, ema, is no dictionary"),
        ({"ema_0.9": STATE, "ema_0.99": STATE}, "several names, ema_0.9, ema_0.99"),
        ({"encoder": STATE, "decoder": STATE}, "several names"),
        ([STATE], "no dictionary of weights"),
    ],
)
def test_weights_of_which_it_is_not_plain_which_are_drawn(held: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        weights_of(held, "anybody")


@torch.no_grad()
def test_a_file_is_what_its_content_is(tmp_path: Path) -> None:
    """Whatever its ending, and whatever lies beside it; ADM's weights in safetensors too."""
    state = record("adm_plain").state
    given: dict[str, Any] = {"size": 8, "schedule": "linear", "heads": 1, "new_order": False}
    torch.save(state, tmp_path / "a.safetensors")
    torch.save({name: value + 1 for name, value in state.items()}, tmp_path / "a")
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "b.st")
    write_tiny(tmp_path / "c.bin", 0)
    x, level = torch.ones(1, 3, 8, 8), torch.tensor(1.5)
    one, two = (
        sd.load(tmp_path / name, **given).denoiser(x, level) for name in ("a.safetensors", "b.st")
    )
    assert torch.equal(one, two)
    assert not torch.equal(sd.load(tmp_path / "a", **given).denoiser(x, level), one)
    assert sd.load(tmp_path / "c.bin").denoiser.space.shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"size": "8"}, "size='8': give a whole number"),
        ({"size": 8, "new_order": "false"}, "new_order='false': give true or false"),
        ({"size": 8, "consistency": "no"}, "consistency='no': give true or false"),
        ({"size": 8, "heads": 0, "head_width": 0}, "head_width=0: give"),
        ({"size": 2**20}, "size=1048576: .* at most 8192"),
    ],
)
def test_an_option_of_another_type_is_one_line(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    """Text is true, whatever it says."""
    torch.save(record("adm_plain").state, tmp_path / "a.pt")
    with pytest.raises(InputError, match=says):
        sd.load(tmp_path / "a.pt", **given)


def test_weights_of_whole_numbers_are_none(tmp_path: Path) -> None:
    state = {name: (9 * value).to(torch.int8) for name, value in record("adm_plain").state.items()}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(InputError, match="is int8: quantised"):
        sd.load(tmp_path / "a.pt", size=8)


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


def test_a_home_is_found_whatever_the_shell_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind an equals sign some shells leave the tilde as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    sd.load("mnist").save(tmp_path / "mine.safetensors")
    assert sd.load("~/mine.safetensors").classes == 10
    with pytest.raises(InputError, match="checkpoint=~/gone: no such file"):
        sd.load("~/gone")


def test_an_absolute_path_is_no_name_of_the_hub() -> None:
    with pytest.raises(InputError, match="no such file or folder") as refusal:
        sd.load("/nowhere/model")
    assert "hub:" not in str(refusal.value)
