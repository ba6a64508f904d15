"""Does a word know which object it is said of? The text encoder of the shipped shapes model.

``python benchmarks/binding.py [CHECKPOINT]`` asks the encoder, teaches it, and writes
``outputs/benchmark-binding/taught.safetensors``, from which a training goes on by ``init=``.
"""

from __future__ import annotations

import math
import sys
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import page
import render
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import TEXT
from sde_diffusion.conditions.text import Text, words_of
from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.scenes import scenes
from sde_diffusion.data.shapes.source import worded
from sde_diffusion.data.shapes.wording import Description, Thing, parsed
from sde_diffusion.models.file import read_checkpoint, save_checkpoint
from sde_diffusion.networks.layers.side import TextEncoder
from sde_diffusion.system.storage import asset

OUTPUTS = page.HERE.parent / "outputs" / "benchmark-binding"
SENTENCES, HELD_OUT = 40000, 2000
STEPS, WARMUP, BATCH, LR = 1500, 100, 128, 1e-3
NEAR = 3.0  # weight of the square distance from the tokens that the network reads today
PREFIX = "side.text."
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
REGIONS = [(row, column) for row in v.ROWS for column in v.COLUMNS]
# What a word is asked of the object that it is said of, and the answers; None where unsaid.
FACTS: dict[str, list[Any]] = {
    "shape": [*v.SHAPES, None],
    "colour": [*v.COLOUR_NAMES, None],
    "size": [*v.SIZES, None],
    "texture": [*v.TEXTURES, v.PATTERNED, None],
    "relation to the first other": [*v.RELATIONS, None],
    "relation to the third": [*v.RELATIONS, None],
    "place": [*REGIONS, None],
    "which of them": [0, 1, 2],
    "how many": [1, 2, 3],
}
NOUNS = {*v.SHAPES, *v.ANY}
CHANCE = -100  # the target of no word, which cross_entropy passes over


@dataclass(frozen=True)
class Sentences:
    """Words int64 [N, L], and of each what it belongs to, int64 [N, L, len(FACTS)]."""

    words: Tensor
    facts: Tensor


def sentences(seed: int, count: int, all_pairs: bool, text: Text) -> Sentences:
    """Captions of scenes, read by the grammar that they were made with."""
    captions = worded(scenes(seed, range(count), all_pairs))[1]
    words = text.tokens(captions)
    facts = torch.full((*words.shape, len(FACTS)), CHANCE)
    for row, caption in enumerate(captions):
        said = parsed(caption)
        assert said is not None
        of_things = [answers(said, i) for i in range(len(said.things))]
        thing = 0
        for place, word in enumerate(words_of(caption)):
            facts[row, place] = of_things[min(thing, len(of_things) - 1)]
            thing += word in NOUNS  # the noun ends what is said of one
    return Sentences(words, facts)


def answers(said: Description, i: int) -> Tensor:
    """The number of each fact's answer, of object i."""
    thing: Thing = said.things[i]
    relations = {(a, b): way for a, way, b in said.relations}
    relations |= {(b, a): OPPOSITE[way] for (a, b), way in relations.items()}
    values = [thing.shape, thing.colour, thing.size, thing.texture]
    values += [relations.get((i, 0 if i else 1)), None if i else relations.get((0, 2))]
    values += [said.region, i, len(said.things)]
    return torch.tensor([known.index(x) for known, x in zip(FACTS.values(), values, strict=True)])


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
            (F.cross_entropy(x.flatten(0, 1), y.flatten(), ignore_index=CHANCE) for x, y in parts),
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


def asked_and_taught(checkpoint: str) -> dict[str, Any]:
    """The shares before and after, and the file with the encoder that was taught."""
    spec, tensors = read_checkpoint(asset(checkpoint), prefix="model.")
    arguments = spec.network_args
    count, length = arguments["text"]
    encoder = TextEncoder(
        count, length, arguments["text_width"], arguments["text_depth"], arguments["embedding"]
    )
    own = {k.removeprefix(PREFIX): x for k, x in tensors.items() if k.startswith(PREFIX)}
    encoder.load_state_dict({name: x.float() for name, x in own.items()})
    text = Text(spec.conditions[TEXT]["words"], length)
    known = sentences(14, SENTENCES, False, text)
    asked = sentences(15, HELD_OUT, True, text)
    found = {"guess": guessed(known, asked)}
    for name, taught in (("before", False), ("after", True)):
        head = learn(encoder, taught, known)
        found[name] = told(encoder, head, asked)
    tensors |= {PREFIX + name: x for name, x in encoder.state_dict().items()}
    path = OUTPUTS / "taught.safetensors"
    save_checkpoint(path, spec, {f"model.{name}": x for name, x in tensors.items()})
    return found


def main() -> None:
    """Ask, teach, ask again, write binding.md."""
    checkpoint = sys.argv[1] if len(sys.argv) > 1 else "shapes"
    torch.set_num_threads(1)
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    found = page.once(OUTPUTS, "told", lambda: asked_and_taught(checkpoint))
    lines = [
        [name, *(f"{100 * found[who][name]:.1f}" for who in ("guess", "before", "after"))]
        for name in FACTS
    ]
    page.plain(
        "binding",
        "Does a word know which object it is said of?",
        [
            (page.HERE / "text" / "binding.md").read_text().strip(),
            render.markdown(["asked of each word", "commonest answer", "before", "after"], lines),
        ],
    )


if __name__ == "__main__":
    main()
