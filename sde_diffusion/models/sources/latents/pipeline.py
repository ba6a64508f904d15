"""A latent pipeline's folder as a model: SD 1 and 2, SDXL, SD3, Flux, PixArt, DiT."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sde_diffusion.codecs.autoencoder import KEYS, Autoencoder
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.encoded import Encoded, SentenceEncoder
from sde_diffusion.conditions.labels import Labels
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS
from sde_diffusion.denoisers.space import Kind, Space
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import Finding, OpenedModel, name_left_out
from sde_diffusion.models.schedulers import (
    ENDS,
    FILE,
    ReadSchedule,
    in_pipeline,
    predicted,
    read_schedule,
)
from sde_diffusion.models.sources.class_labels import labels_of, names_of
from sde_diffusion.models.sources.latents.inputs import check_inputs
from sde_diffusion.models.sources.latents.parts import PipelineParts, digest
from sde_diffusion.models.sources.latents.texts import (
    T5_LENGTHS,
    LastLayer,
    Masked,
    PooledAndTokens,
    Triple,
    TwoEncoders,
)
from sde_diffusion.models.sources.scheduled import of_two_classes, scheduler_of
from sde_diffusion.networks.diffusers import Diffusers
from sde_diffusion.networks.latent import SD3, Flux, LatentNetwork, PixArt, TextUNet
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.timesteps import FlowShift

DISTILLED = re.compile(
    r"turbo|lightning|hyper-?sd|schnell|(^|[-_/])(lcm|tcd|pcm|dmd2?)([-_/]|$)|^LatentConsistency",
    re.IGNORECASE,
)
TOKENS = (
    "use_dynamic_shifting",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
)
# That a network distilled with one is told where nothing else is said: Flux, LCM.
GUIDANCE, LATENT_CONSISTENCY = 3.5, 8.5


@dataclass(frozen=True)
class Family:
    """Pipelines of one kind.

    Attributes:
        network: how its network is called; None: with a label. part: what the folder calls it.
        text: joins its encoders. packs: latents a side of a token of its input.
        width: entry of the network's config that the features of a text must fit.
        codec: what the folder calls its autoencoder. undone: of ``KEYS``, those that its pipeline
            undoes.
    """

    network: type[LatentNetwork] | None
    part: str
    text: Callable[[PipelineParts, Mapping[str, Any]], SentenceEncoder] | None
    packs: int = 1
    width: str = ""
    codec: str = "vae"
    undone: tuple[str, ...] = ()


def _sdxl(parts: PipelineParts, index: Mapping[str, Any]) -> SentenceEncoder:
    zeros = index.get("force_zeros_for_empty_prompt", True)
    if not isinstance(zeros, bool):
        raise InputError(
            f"model_index.json: force_zeros_for_empty_prompt={str(zeros)[:40]}: write true or false"
        )
    return TwoEncoders(parts.reader(""), parts.reader("_2"), zeros)


def _sd3(parts: PipelineParts, index: Mapping[str, Any]) -> SentenceEncoder:
    t5 = parts.reader("_3", T5_LENGTHS["sd3"]) if parts.has("text_encoder_3") else None
    width = int(parts.config("transformer").get("joint_attention_dim", 4096))
    return Triple(parts.reader(""), parts.reader("_2"), t5, width)


def _pixart(parts: PipelineParts, index: Mapping[str, Any]) -> SentenceEncoder:
    sigma = "Sigma" in str(index.get("_class_name"))
    return Masked(parts.reader("", T5_LENGTHS["sigma" if sigma else "pixart"]))


def _stable(parts: PipelineParts, index: Mapping[str, Any]) -> SentenceEncoder:
    return LastLayer(parts.reader(""))


def _flux(parts: PipelineParts, index: Mapping[str, Any]) -> SentenceEncoder:
    return PooledAndTokens(parts.reader(""), parts.reader("_2", T5_LENGTHS["flux"]))


STABLE = Family(TextUNet, "unet", _stable, 1, "cross_attention_dim")
XL = Family(TextUNet, "unet", _sdxl, 1, "cross_attention_dim", undone=KEYS[1:])
THREE = Family(SD3, "transformer", _sd3, 1, "joint_attention_dim", undone=KEYS[:1])
FLUX = Family(Flux, "transformer", _flux, 2, "joint_attention_dim", undone=KEYS[:1])
PIXART = Family(PixArt, "transformer", _pixart, 1, "caption_channels")
DIT = Family(None, "transformer", None)
LDM = Family(None, "unet", None, codec="vqvae")
FAMILIES = {
    "StableDiffusionPipeline": STABLE,
    "StableDiffusionImg2ImgPipeline": STABLE,
    "LatentConsistencyModelPipeline": STABLE,
    "StableDiffusionXLPipeline": XL,
    "StableDiffusionXLImg2ImgPipeline": XL,
    "StableDiffusion3Pipeline": THREE,
    "StableDiffusion3Img2ImgPipeline": THREE,
    "FluxPipeline": FLUX,
    "FluxImg2ImgPipeline": FLUX,
    "PixArtAlphaPipeline": PIXART,
    "PixArtSigmaPipeline": PIXART,
    "DiTPipeline": DIT,
    "LDMPipeline": LDM,
}


def opened(
    path: Path,
    dtype: torch.dtype,
    index: Mapping[str, Any],
    scheduler: Mapping[str, Any] | None = None,
    tiling: bool = False,
) -> OpenedModel:
    """The model of a latent pipeline's folder.

    Args:
        index: of ``model_index.json``. scheduler: entries in place of those of its scheduler.
        tiling: decode large pictures in tiles.
    """
    family = family_of(index)
    parts = PipelineParts(path, index)
    entries = scheduler_of(path, index) if scheduler is None else scheduler
    schedule = read_schedule(entries)
    _check_path(schedule, entries, family)
    config = parts.config(family.part)
    stated = _stated(parts, family)
    codec = Autoencoder(parts.model(family.codec), "", tiling, undone=stated)
    _check_channels(config, codec, family)
    network = parts.model(family.part, dtype)
    conditioner: Conditioner
    if family.network is None or family.text is None:
        called: Any = _class_network(network, config)
        conditioner = Labels(called.classes, names_of(index, called.classes))
    else:
        encoder = family.text(parts, index)
        called = family.network(network, codec.factor)
        check_inputs(encoder, config, family.part, family.width)
        conditioner = Encoded(encoder, _told(config))
    codec.identity = digest(path, parts.files)
    denoiser = NetworkDenoiser(
        called,
        PARAMETERIZATIONS[schedule.parameterization](**schedule.arguments),
        _space(config, codec, family),
        schedule.sigma_min,
        schedule.sigma_max,
        codec.identity,
    )
    of_schedule = [_dynamic(each) for each in schedule.findings]
    of_schedule += of_two_classes(path, index) if scheduler is None else []
    findings = [*_findings(index, schedule, codec, denoiser.space), *_left(codec, stated)]
    findings += [*of_schedule, *parts.passed_over]
    name_left_out(path, findings)
    return OpenedModel(
        denoiser.eval().requires_grad_(False),
        str(path),
        denoiser.source,
        conditioner,
        codec,
        tuple(findings),
        _grid(schedule, entries, family),
    )


def family_of(index: Mapping[str, Any]) -> Family:
    """What kind of pipeline it is; InputError for one that is not read."""
    name = str(index.get("_class_name", ""))
    if name not in FAMILIES:
        raise InputError(
            f"model_index.json: {name[:60]}: a model of latents whose pipeline is not read; those "
            f"of {', '.join(FAMILIES)} are"
        )
    return FAMILIES[name]


def _told(config: Mapping[str, Any]) -> float | None:
    """The guidance that a network was distilled with and is told; None of any other."""
    if config.get("time_cond_proj_dim") is not None:
        return LATENT_CONSISTENCY
    return GUIDANCE if config.get("guidance_embeds") else None


def _class_network(network: Any, config: Mapping[str, Any]) -> Diffusers:
    """A network of labels in its own weights' place.

    Its class is what diffusers made of the folder: old ones say Transformer2DModel of a DiT.
    """
    name = type(network).__name__
    classes, null, dropped = labels_of(name, config)
    takes = inspect.signature(type(network).__init__).parameters
    kept = {key: value for key, value in network.config.items() if key in takes}
    called = Diffusers(name, kept, int(config.get("in_channels", 4)), classes, null, not dropped)
    called.network = network
    for module in network.modules():
        if type(module).__name__ == "LabelEmbedding":
            module.dropout_prob = 0.0
    return called


def _check_path(schedule: ReadSchedule, entries: Mapping[str, Any], family: Family) -> None:
    """InputError for a scheduler of noise with a network that is known to predict a flow."""
    if family in (THREE, FLUX) and schedule.parameterization != "straight":
        raise InputError(
            f"{FILE}: {str(entries.get('_class_name'))[:60]} is of no flow, which a network of "
            "this pipeline predicts; write the model's own, FlowMatchEulerDiscreteScheduler, or "
            "prediction_type=flow_prediction and use_flow_sigmas=true of one that has them"
        )


def _check_channels(config: Mapping[str, Any], codec: Autoencoder, family: Family) -> None:
    taken = int(config.get("in_channels") or 4)
    wanted = codec.latents * family.packs**2
    if taken != wanted:
        raise InputError(
            f"{family.part}: takes {taken} channels, and the vae has {codec.latents} latents, so "
            f"{wanted}; a network for inpainting or editing is not read, or parts are mixed up"
        )


def _space(config: Mapping[str, Any], codec: Autoencoder, family: Family) -> Space:
    """Latents of any size that the network takes; of one size where its places are learned."""
    size = config.get("sample_size") or 128
    sides = tuple(size) if isinstance(size, list) else (size, size)
    usual = (codec.latents, *sides)
    if family.network is None:
        return Space(Kind.LATENTS, usual)
    patch = family.packs * int(config.get("patch_size") or 1)
    levels = len(config.get("block_out_channels") or [0])
    multiple = patch if family.part == "transformer" else 2 ** (levels - 1)
    return Space(Kind.LATENTS, (codec.latents, None, None), multiple, usual)


def _grid(schedule: ReadSchedule, config: Mapping[str, Any], family: Family) -> TimeGrid:
    """The scheduler's levels as the pipeline asks for them."""
    grid = in_pipeline(schedule, config)
    if not isinstance(grid, FlowShift):
        return grid
    dynamic = bool(config.get("use_dynamic_shifting"))
    lay = "even" if family is FLUX else grid.lay_by_size if dynamic else grid.lay
    if not dynamic:
        return FlowShift(grid.shift, grid.timesteps, lay)
    by_tokens = [
        config.get("base_image_seq_len", 256),
        config.get("base_shift", 0.5),
        config.get("max_image_seq_len", 4096),
        config.get("max_shift", 1.15),
    ]
    return FlowShift(1.0, grid.timesteps, lay, by_tokens)


def _findings(
    index: Mapping[str, Any], schedule: ReadSchedule, codec: Autoencoder, space: Space
) -> list[Finding]:
    size = "x".join(str(codec.factor * side) for side in space.shape[1:])
    return [
        Finding("family", str(index.get("_class_name")), "model_index.json: _class_name"),
        Finding("prediction", predicted(schedule), f"{FILE}: prediction_type, _class_name"),
        Finding("codec", codec.described, "vae/config.json"),
        Finding("size", size, "config.json: sample_size"),
        *([] if schedule.solver in ENDS.values() else _distilled(index)),
    ]


def _stated(parts: PipelineParts, family: Family) -> tuple[str, ...]:
    """Of ``KEYS`` those that the pipeline looks at: mean and deviation only where both stand."""
    config = parts.config(family.codec)
    both = all(config.get(key) is not None for key in KEYS[1:])
    return tuple(key for key in family.undone if key not in KEYS[1:] or both)


def _left(codec: Autoencoder, stated: Sequence[str]) -> list[Finding]:
    """What the autoencoder says of its latents and its pipeline, as here, passes over."""
    config = codec.vae.config
    evidence = "vae/config.json: its pipeline does not look at it, as in diffusers"
    return [
        Finding(key, str(config.get(key))[:60], evidence, False)
        for key in KEYS
        if key not in stated and config.get(key)
    ]


def _distilled(index: Mapping[str, Any]) -> list[Finding]:
    """What the name says of a model whose scheduler says nothing."""
    for key in ("_name_or_path", "_class_name"):
        name = str(index.get(key) or "")
        if DISTILLED.search(name):
            remark = f"{name[:60]}: its own few steps alone; inspect self_test=true asks it"
            return [Finding("distilled", remark, f"model_index.json: {key}", False)]
    return []


def _dynamic(finding: Finding) -> Finding:
    """An entry of the shift by tokens as honoured, which it is here."""
    exponential = (finding.key, finding.value) == ("time_shift_type", "exponential")
    return replace(finding, honoured=True) if exponential or finding.key in TOKENS else finding
