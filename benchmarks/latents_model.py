"""A small latent text-to-image model of digits, trained here: ``python latents_model.py FOLDER``.

An autoencoder of MNIST's digits on 32 x 32 pixels, to 8 x 8 latents, by the loop below; then a
UNet2DConditionModel of those latents by the trainer of the package, told the features that a text
encoder, left as it was drawn, has for the name of the digit. ``FOLDER/pipeline`` is a
StableDiffusionPipeline's folder. The training of the network goes on where it was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor
from tqdm import tqdm

from sde_diffusion import MNIST
from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.data.latents import encoded
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.models.sources.latents.autoencoder import open_autoencoder
from sde_diffusion.models.sources.latents.texts import LastLayer, TextReader
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks.registry import Network, register
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.validation import validation_losses

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = sorted({letter for name in NAMES for letter in name})
LENGTH, WIDTH, LATENTS, SIDE = 8, 32, 4, 32
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
UNET = {
    "sample_size": 8, "in_channels": LATENTS, "out_channels": LATENTS, "layers_per_block": 1,
    "cross_attention_dim": WIDTH, "block_out_channels": [32, 64], "norm_num_groups": 8,
    "attention_head_dim": 2, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
SIGMAS = (0.0292, 14.61)  # of the betas
AUTOENCODER_IMAGES, UNET_STEPS, BATCH = 20_000, 1500, 32


def text_parts() -> tuple[Any, Any]:
    """A tokenizer of letters and a CLIP text encoder as it is drawn."""
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(
        vocab={piece: k for k, piece in enumerate(pieces)}, merges=[], model_max_length=LENGTH
    )
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=2 * WIDTH,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return tokenizer, transformers.CLIPTextModel(config).eval().requires_grad_(False)


def features() -> Tensor:
    """[11, L, d]: of the names, and of the empty sentence."""
    return LastLayer(TextReader(*text_parts(), LENGTH)).encode([*NAMES, ""])["value"]


@register("benchmark_named_digits")
class NamedDigits(Network):
    """F(x, k, label) of a UNet2DConditionModel that is told the features of the label's name."""

    def __init__(self, config: Mapping[str, Any], channels: int, classes: int) -> None:
        super().__init__()
        self.network = diffusers.UNet2DConditionModel(**config)
        self.register_buffer("sentences", torch.zeros(classes + 1, LENGTH, WIDTH))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        if cond is None:
            rows = torch.full((len(x),), len(NAMES))
        else:
            part = cond.parts[LABEL]
            rows = torch.where(part.keep, part.value, len(NAMES))
        answer: Tensor = self.network(x, c_noise, self.sentences[rows], return_dict=False)[0]
        return answer


def digits(split: str) -> ImageSet:
    """MNIST with two black pixels around each picture."""
    data = MNIST(split=split).load()
    return replace(data, images=torch.nn.functional.pad(data.images, (2, 2, 2, 2)))


def autoencoder(images: Tensor, folder: Path) -> Any:
    """The autoencoder, trained if the folder has none: |x - D(E(x))|, a little of the prior."""
    if folder.is_dir():
        return diffusers.AutoencoderKL.from_pretrained(folder).eval().requires_grad_(False)
    torch.manual_seed(1)
    vae = diffusers.AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=LATENTS, block_out_channels=(8, 16, 32),
        layers_per_block=1, norm_num_groups=4, sample_size=SIDE,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    steps = AUTOENCODER_IMAGES // BATCH
    optimizer = torch.optim.AdamW(vae.parameters(), 3e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    with tqdm(torch.randperm(len(images))[: steps * BATCH].split(BATCH), desc="autoencoder") as bar:
        for rows in bar:
            x = to_float(images[rows])
            posterior = vae.encode(x).latent_dist
            error = vae.decode(posterior.sample()).sample - x
            loss = error.abs().mean() + error.square().mean() + 1e-4 * posterior.kl().mean() / 256
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix({"loss": f"{float(loss.detach()):.4f}"}, refresh=False)
    vae.eval().requires_grad_(False)
    with torch.no_grad():
        parts = [vae.encode(to_float(part)) for part in images[:2000].split(500)]
    scale = 1 / float(torch.cat([part.latent_dist.mode() for part in parts]).std())
    vae.register_to_config(scaling_factor=scale)
    vae.save_pretrained(folder)
    return vae


def trained(latents: ImageSet, held_out: ImageSet, folder: Path, steps: int) -> Any:
    """The network, trained by the package's trainer or as it lies in the folder."""
    betas = {key: BETAS[key] for key in ("beta_start", "beta_end")}
    spec = Spec(
        network="benchmark_named_digits",
        network_args={"config": UNET, "channels": LATENTS, "classes": len(NAMES)},
        parameterization="discrete",
        parameterization_args={"predicts": "epsilon", "betas": "scaled_linear", **betas},
        shape=(LATENTS, 8, 8),
        sigma_min=SIGMAS[0],
        sigma_max=SIGMAS[1],
        classes=len(NAMES),
        data=latents.name,
        kind="latents",
    )
    config = TrainConfig(
        steps=steps, batch_size=BATCH, lr=3e-3, warmup=100, save_every=200, label_dropout=0.1
    )
    trainer = Trainer(spec, latents, Parts(LogNormal(-0.2, 1.4)), config, folder)
    for network in (trainer.denoiser.network, trainer.state.ema.network):
        network.sentences.copy_(features())

    def validate(trainer: Trainer) -> float:
        losses = validation_losses(trainer.ema_denoiser(), held_out)
        print(trainer.step, sum(losses.values()) / len(losses), flush=True)
        return sum(losses.values()) / len(losses)

    for _ in trainer.run(validate):
        pass
    return trainer.state.ema.network.network


def main() -> None:
    """FOLDER/pipeline."""
    folder = Path(sys.argv[1])
    sets = {split: digits(split) for split in ("train", "test")}
    vae = autoencoder(sets["train"].images, folder / "vae")
    codec = open_autoencoder(folder / "vae")
    latents, held_out = (encoded(each, codec) for each in (sets["train"], sets["test"][:1000]))
    unet = trained(latents, held_out, folder / "unet", UNET_STEPS)
    tokenizer, text_encoder = text_parts()
    scheduler = diffusers.DDIMScheduler(
        **BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet.eval(),
        scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.to(dtype=torch.float16).save_pretrained(folder / "pipeline")


if __name__ == "__main__":
    main()
