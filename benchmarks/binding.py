"""Does a word know which object it is said of? The text encoder of the shipped shapes model.

``python benchmarks/binding.py NAME=CHECKPOINT [NAME=CHECKPOINT ...]`` asks the encoders of
checkpoints, each called NAME on the page, teaches the first, and writes
``outputs/benchmark-binding/taught.safetensors``, from which a training goes on by ``init=``.
"""

from __future__ import annotations

import math
import sys
from copy import deepcopy

import binding_swap
import page
import render
import torch
import torch.nn.functional as F
from binding_facts import FACTS, NO_WORD, Sentences, sentences
from torch import Tensor, nn

from sde_diffusion.conditions.condition import TEXT
from sde_diffusion.conditions.text import Text
from sde_diffusion.models.file import read_checkpoint, save_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks.layers.side import TextEncoder
from sde_diffusion.system.storage import asset

OUTPUTS = page.HERE.parent / "outputs" / "benchmark-binding"
SENTENCES, HELD_OUT = 40000, 2000
STEPS, WARMUP, BATCH, LR = 1500, 100, 128, 1e-3
NEAR = 3.0  # weight of the square distance from the tokens that the network reads today
PREFIX = "side.text."
SWAPPED = ("error,", "more with shapes exchanged,")


def answered(head: nn.Linear, tokens: Tensor) -> tuple[Tensor, ...]:
    """Logits of each fact, read from each token by one linear map."""
    sizes = [len(values) for values in FACTS.values()]
    logits: Tensor = head(tokens)
    return logits.split(sizes, dim=-1)


def learn(encoder: TextEncoder, taught: bool, known: Sentences) -> nn.Linear:
    """A linear reader of the tokens; with ``taught`` the encoder learns with it."""
    torch.manual_seed(0)
    width = encoder.norm.weight.numel()
    head = nn.Linear(width, sum(len(values) for values in FACTS.values()))
    before = deepcopy(encoder)
    learning = [*head.parameters(), *(encoder.parameters() if taught else [])]
    optimizer = torch.optim.AdamW(learning, LR, betas=(0.9, 0.98))
    for step in range(STEPS):
        rate = min(1.0, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / STEPS)) / 2
        optimizer.param_groups[0]["lr"] = LR * rate
        rows = torch.randint(len(known.words), (BATCH,))
        words, facts = known.words[rows], known.facts[rows]
        tokens = encoder(words)["tokens"]
        parts = zip(answered(head, tokens), facts.unbind(-1), strict=True)
        loss = sum(
            (F.cross_entropy(x.flatten(0, 1), y.flatten(), ignore_index=NO_WORD) for x, y in parts),
            torch.zeros(()),
        )
        if taught:
            with torch.no_grad():
                old = before(words)["tokens"]
            loss = loss + NEAR * (tokens - old)[words > 0].square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.3f}", flush=True)
    return head


@torch.no_grad()
def told(encoder: TextEncoder, head: nn.Linear, asked: Sentences) -> dict[str, float]:
    """Of each fact, the share of words that tell it."""
    logits = answered(head, encoder(asked.words)["tokens"])
    counted = asked.words > 0
    return {
        name: float((x.argmax(-1) == y)[counted].float().mean())
        for name, x, y in zip(FACTS, logits, asked.facts.unbind(-1), strict=True)
    }


def guessed(known: Sentences, asked: Sentences) -> dict[str, float]:
    """The same of whoever says the commonest answer."""
    there, counted = known.facts[known.words > 0], asked.facts[asked.words > 0]
    return {
        name: float((counted[:, i] == there[:, i].mode()[0]).float().mean())
        for i, name in enumerate(FACTS)
    }


def encoder_of(checkpoint: str) -> tuple[TextEncoder, Text, Spec, dict[str, Tensor]]:
    """The text encoder of a checkpoint, the words that it reads, and all that the file holds."""
    spec, tensors = read_checkpoint(asset(checkpoint), prefix="model.")
    arguments = spec.network_args
    count, length = arguments["text"]
    encoder = TextEncoder(
        count, length, arguments["text_width"], arguments["text_depth"], arguments["embedding"]
    )
    own = {k.removeprefix(PREFIX): x for k, x in tensors.items() if k.startswith(PREFIX)}
    encoder.load_state_dict({name: x.float() for name, x in own.items()})
    return encoder, Text(spec.conditions[TEXT]["words"], length), spec, tensors


def heard(checkpoint: str, taught: bool = False) -> dict[str, dict[str, float]]:
    """What the words of a checkpoint tell, and what a guess is worth; ``taught``: of the encoder
    after its lesson, which is kept in a file."""
    encoder, text, spec, tensors = encoder_of(checkpoint)
    known, asked = sentences(14, SENTENCES, False, text), sentences(15, HELD_OUT, True, text)
    head = learn(encoder, taught, known)
    if taught:
        tensors |= {PREFIX + name: x for name, x in encoder.state_dict().items()}
        weights = {f"model.{name}": x for name, x in tensors.items()}
        save_checkpoint(OUTPUTS / "taught.safetensors", spec, weights)
    return {"words": told(encoder, head, asked), "guess": guessed(known, asked)}


def main() -> None:
    """Ask, teach, ask again, write binding.md."""
    torch.set_num_threads(1)
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    given = dict(each.split("=", 1) for each in sys.argv[1:])
    first, *_ = given.values()
    told_by = {
        name: page.once(OUTPUTS, name, lambda path=path: heard(path))
        for name, path in given.items()
    }
    taught = page.once(OUTPUTS, "taught", lambda: heard(first, taught=True))
    shares = {"commonest answer": taught["guess"], "taught": taught["words"]}
    shares |= {name: found["words"] for name, found in told_by.items()}
    lines = [[fact, *(f"{100 * each[fact]:.1f}" for each in shares.values())] for fact in FACTS]
    errors = [
        page.once(OUTPUTS, f"exchanged-{name}", lambda path=path: binding_swap.exchanged(path))
        for name, path in given.items()
    ]
    levels = [
        [row[0][0], *(text for each in row for text in shown(each))]
        for row in zip(*errors, strict=True)
    ]
    heads = [f"{what} {name}" for name in given for what in SWAPPED]
    render.page(
        "binding",
        {
            "words": render.table(["asked of each word", *shares], lines),
            "levels": render.table(["level", *heads], levels),
        },
    )


def shown(row: list[float]) -> tuple[str, str]:
    """The error, and what an exchange of shapes adds."""
    return f"{row[1]:.1f}", f"{row[2]:.2f} ± {row[3]:.2f}"


if __name__ == "__main__":
    main()
