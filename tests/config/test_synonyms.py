"""Words that other packages have for our keys name them, in Python and on the command line."""

from __future__ import annotations

import pytest

from sde_diffusion import compare, wrap
from sde_diffusion.config.compose import compose_task
from sde_diffusion.config.groups import names
from sde_diffusion.config.synonyms import WORDS, key_meant
from sde_diffusion.errors import InputError
from tests.refusals import refused

MODEL = wrap(lambda x, sigma: x / (1 + sigma**2), shape=(1, 8, 8))
# Of the task sample: what is typed, and what is meant.
SAMPLE = {
    "steps": "nfe",
    "num_steps": "nfe",
    "num_inference_steps": "nfe",
    "scheduler": "solver",
    "batch": "n or batch_size",
    "num_images": "n",
    "num_samples": "n",
    "class_labels": "label",
    "class_label": "label",
    "y": "label",
    "text": "prompt",
    "negative_prompt": "negative",
    "height": "size",
    "resolution": "size",
    "init_image": "start",
}
SCALES = ("guidance_scale", "cfg_scale", "w", "cfg")


@pytest.mark.parametrize(("word", "key"), SAMPLE.items())
def test_a_word_of_others_names_the_key(word: str, key: str) -> None:
    with refused(f"{word}: unknown keyword", f"did you mean {key}?"):
        MODEL.sample(**{word: 3})
    with refused(f"{word}: unknown key here", f"did you mean {key}?"):
        compose_task(["task=sample", f"{word}=3"])


@pytest.mark.parametrize("word", SCALES)
def test_a_scale_of_guidance_is_named_as_it_is_typed(word: str) -> None:
    with refused(f"{word}: ", 'did you mean guidance="cfg", guidance__cfg__scale=3?'):
        MODEL.sample(**{word: 3})
    with refused(f"{word}: ", "did you mean guidance=cfg guidance.cfg.scale?"):
        compose_task(["task=sample", f"{word}=3"])
    with refused(f"{word}: ", "did you mean guidance.cfg.scale?"):
        compose_task(["task=sample", "guidance=cfg", f"{word}=3"])
    with pytest.raises(InputError) as caught:
        compose_task(["task=evaluate", f"{word}=3"])  # which has no guidance
    assert "guidance.cfg" not in str(caught.value)


def test_fields_are_named_too() -> None:
    with refused("guidance.cfg.w: unknown key here", "did you mean scale?"):
        compose_task(["task=sample", "guidance=cfg", "guidance.cfg.w=3"])
    with refused("guidance__w: unknown key", "did you mean scale?"):
        MODEL.sample(guidance="cfg", guidance__cfg__w=3)


def test_a_key_of_that_name_stays_what_it_is() -> None:
    assert compose_task(["task=train", "steps=3"]).steps == 3
    assert compose_task(["task=compare", "samples=[3]"]).samples == [3]
    assert compose_task(["task=evaluate", "images=x", "samples=[3]"]).samples == [3]


def test_each_task_says_its_own() -> None:
    with refused("n: ", "did you mean samples?"):
        compose_task(["task=compare", "n=3"])
    with refused("num_steps: ", "did you mean steps?"):
        compose_task(["task=train", "num_steps=3"])
    with refused("samples: ", "did you mean n?"):
        compare(MODEL, samples=3)
    with refused("sampler: ", "did you mean solvers?"):
        compare(MODEL, sampler="ddim")


def test_spelling_comes_before_other_words() -> None:
    assert key_meant("Steps", ("nfe", "steps")) == "did you mean steps? "
    assert key_meant("steps", ("nfe", "seeds")) == "did you mean nfe? "
    assert key_meant("nothing-like-it", ("nfe", "seeds")) == ""


def test_every_key_is_one_of_some_task() -> None:
    """Or of the library's calls: no word leads to what is not there."""
    known = {"x_T", "callback", "progress", "scale", "guidance.cfg.scale", "hydra.run.dir"}
    known |= {"path", "file", "root"}  # of components
    for task in names("task"):
        config = compose_task([f"task={task}"])
        known |= set(map(str, config))
    assert set(WORDS) <= known
