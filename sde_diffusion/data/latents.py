"""Pictures as latents of an autoencoder, encoded once on this machine."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.codecs import Codec
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.notice import notice, optional
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors
from sde_diffusion.system.share import shared
from sde_diffusion.system.storage import cache_folder

LATENTS = SealedKind("latents", 1, "run the same command again")


def encoded(
    data: ImageSet, codec: Codec, device: torch.device | str = "cpu", part_size: int = 512
) -> ImageSet:
    """The set with the latents of its pictures in their place, float32 [N, C, H, W].

    The mode of each picture's posterior, scaled as the autoencoder's config says. They are kept in
    the cache by pixels and autoencoder, in parts that several processes share; where that cannot be
    written, a line says so.

    Args:
        data: pictures, in grey if all are; made of as many channels as the autoencoder takes.
        part_size: pictures a part, which a killed run makes again and which a process takes.
    """
    if data.images.is_floating_point():
        raise InputError(f"data={data.name}: holds vectors, which have no latents; leave codec out")
    pictures = data.with_channels(codec.channels, f"data={data.name}", "the codec")
    check_sides(pictures, codec)
    folder = cache_folder() / "latents" / codec.identity[:32]
    held: dict[int, Tensor] = {}
    unwritable: list[Path] = []
    parts = list(enumerate(pictures.images.split(part_size)))

    def path(part: tuple[int, Tensor]) -> Path:
        pixels = f"{tuple(part[1].shape)}".encode() + part[1].contiguous().numpy().tobytes()
        return folder / f"{hashlib.sha256(pixels).hexdigest()[:32]}.safetensors"

    def make(part: tuple[int, Tensor]) -> None:
        x = codec.to(device).encode(to_float(part[1].to(device))).float().cpu()
        if not bool(x.isfinite().all()):
            raise InputError(
                f"data={data.name}: the codec makes latents of them that are not finite; its "
                "weights are damaged, or overflow"
            )
        held[part[0]] = x
        if not unwritable:  # one line, not one a part
            unwritable.append(folder)
            with optional("latents kept in the cache"):
                LATENTS.write(path(part), {"x": x}, {})
                unwritable.clear()

    def whole(part: tuple[int, Tensor]) -> bool:
        if part[0] not in held:
            x = LATENTS.recall(path(part), _of_part)
            if x is not None and len(x) == len(part[1]):
                held[part[0]] = x
        return part[0] in held

    with tqdm(total=len(data), desc="encode", unit="image", disable=hidden()) as bar:
        for part in shared(parts, path, make, whole):
            whole(part)
            bar.update(len(part[1]))
    x = torch.cat([held[number] for number in range(len(parts))])
    made_of = hashlib.sha256(f"{pictures.fingerprint} {codec.identity}".encode()).hexdigest()[:16]
    latents = replace(pictures, images=x, made_of=made_of, notes=())
    shape = " x ".join(map(str, x.shape[1:]))
    notice(f"data={data.name}: {len(x)} latents, {shape}, of standard deviation {x.std():.3g}")
    return latents


def _of_part(facts: Facts, tensors: Tensors) -> Tensor:
    return tensors["x"]


def check_sides(pictures: ImageSet, codec: Codec) -> None:
    """InputError for pictures whose sides are no multiples of a latent's."""
    height, width = pictures.images.shape[2:]
    if height % codec.factor or width % codec.factor:
        near = [max(1, side // codec.factor) * codec.factor for side in (height, width)]
        raise InputError(
            f"data={pictures.name}: {height} x {width} pixels, and a latent of the codec is "
            f"{codec.factor} wide; give pictures of {near[0]} x {near[1]}, data.size={min(near)} "
            "of a folder"
        )
