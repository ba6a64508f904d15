"""Purposes of random numbers: streams that never share a counter."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import final

# Of the numbers that a seed gives. Files record it; any change of a number raises it.
VERSION = 2


@final
@unique
class Stream(IntEnum):
    """What a random number is for: bits 0 .. 7 of the counter's last word.

    A seed may serve several purposes at once (images are sampled from the seeds that also name
    the probes of their likelihood): the streams keep them apart. Numbers are never given anew.
    """

    # Of a sample, by its own seed.
    START = 0  # x_T
    STEP = 1  # independent increments, one draw a step
    FRESH = 2  # moves of no interval: correctors, restarts
    ENTROPY = 3  # seeds for libraries that draw for themselves
    BROWNIAN = 4  # nodes of a virtual Brownian tree
    REVEALED = 5  # paths of adaptive solvers
    PROBES = 6  # of traces and Jacobians
    DEQUANTISE = 7
    MEASURED = 8  # noise of a measurement that is made up
    # Of training, by the one seed of the run.
    WEIGHTS = 16
    ORDER = 17  # of the data in an epoch
    LEVELS = 18
    NOISE = 19
    LABELS = 20  # which are dropped
    AUGMENT = 21
    DROPOUT = 22
    VALIDATION = 23
    # Of procedural data, by the seed of the set.
    SCENE = 40
    # Of procedural data, by the seed of the set.
    PHANTOM = 32
    PATCH = 33


@final
@unique
class Law(IntEnum):
    """The form of a number: bits 8 and 9, so that no two forms are made of the same bits."""

    NORMAL = 0
    UNIFORM = 1
    WHOLE = 2


def stream_word(stream: Stream, law: Law, part: int = 0) -> int:
    """The counter's last word, 32 bits; ``part`` < 2^22 tells users of one stream apart."""
    if not 0 <= part < 2**22:
        raise ValueError(f"part={part}: 0 .. 2^22 - 1")
    return part << 10 | law << 8 | stream
