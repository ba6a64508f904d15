"""CLIP score: does a picture fit its sentence, by a CLIP model from a local folder?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.models.sources.latents.parts import digest
from sde_diffusion.models.sources.pretrained import network, processor, tokenizer
from sde_diffusion.models.sources.weights import json_file
from sde_diffusion.system.notice import notice

BATCH = 50
# Part of the fingerprint: to be raised with any change of what the same folder computes.
PROTOCOL = "clip score 1; float32"


class ClipScore:
    """100 max(cos(E_image, E_text), 0) of each picture and its sentence (arXiv:2104.08718).

    That is the scale of the literature on text-to-image models; the paper's own factor is 2.5.

    Args:
        folder: of a ``CLIPModel`` as transformers saves it: config.json, model.safetensors, the
            words of its tokenizer, preprocessor_config.json. Nothing in it is run.
        device: where the network runs.

    Attributes:
        fingerprint: 16 hex digits of everything that the scores depend on.

    InputError for a folder of anything else.
    """

    name = "clip_score"

    def __init__(self, folder: str | Path, device: torch.device | str = "cpu") -> None:
        path = Path(folder)
        if not path.is_dir():
            raise InputError(f"{self.name}={folder}: no such folder; give one of a CLIPModel")
        try:
            kind = json_file(path / "config.json").get("model_type")
            if kind != "clip":
                raise InputError(f"config.json is of a {str(kind)[:40]}, not of a clip")
            self.network, weights = network("transformers", "CLIPModel", path)
            self.tokenizer, words = tokenizer("transformers", "CLIPTokenizer", path)
            self.processor = processor("CLIPImageProcessor", path)
        except InputError as error:
            raise InputError(f"{self.name}={folder}: {error}") from error
        self.device = torch.device(device)
        self.network.to(self.device)
        self.length = int(self.network.config.text_config.max_position_embeddings)
        files = [*weights, *(file for file in words if file.suffix in (".json", ".txt"))]
        self.fingerprint = digest(path, files, PROTOCOL)[:16]

    @torch.no_grad()
    def __call__(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Scores float64 [N] of pictures uint8 [N, C, H, W], C = 1 or 3, and N sentences."""
        if images.shape[1] not in (1, 3):
            raise InputError(f"{self.name}: takes 1 or 3 channels, not {images.shape[1]}")
        if len(images) != len(texts):
            raise InputError(f"{self.name}: {len(images)} images and {len(texts)} sentences")
        self._tell_of_cuts(texts)
        rows = [slice(k, k + BATCH) for k in range(0, len(texts), BATCH)]
        return torch.cat([self._batch(images[part], texts[part]) for part in rows])

    def _batch(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        pictures = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
        pixels = self.processor([Image.fromarray(each) for each in pictures], return_tensors="pt")
        words = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.length, return_tensors="pt"
        )
        output = self.network(
            input_ids=words["input_ids"].to(self.device),
            attention_mask=words["attention_mask"].to(self.device),
            pixel_values=pixels["pixel_values"].to(self.device),
        )
        cosine = (output.image_embeds * output.text_embeds).sum(-1)
        return (100 * cosine.clamp_min(0)).to("cpu", torch.float64)

    def _tell_of_cuts(self, texts: Sequence[str]) -> None:
        """A line where sentences are longer than the model reads: the rest of them is not seen."""
        longest = max(map(len, self.tokenizer(list(texts))["input_ids"]))
        if longest > self.length:
            notice(
                f"{self.name}: a sentence has {longest} tokens, of which this model reads the "
                f"first {self.length}; scores say nothing of the rest"
            )
