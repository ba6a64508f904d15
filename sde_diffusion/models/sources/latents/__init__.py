"""Latent pipelines of diffusers: a network, an autoencoder, text encoders with their tokenizers."""

from sde_diffusion.models.sources.latents.pipeline import opened as opened
