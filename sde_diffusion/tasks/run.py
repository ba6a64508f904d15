"""What every task does alike: keys, folder, model, results, and where they came from."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar, final

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config import groups
from sde_diffusion.config.choices import choice
from sde_diffusion.config.command import typed
from sde_diffusion.config.compose import build, plain, read
from sde_diffusion.data.prompts import in_turn, of_file, prompt_lines
from sde_diffusion.denoisers.arithmetic import carry_out, slower
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.precision import checked
from sde_diffusion.denoisers.space import Kind
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.extractors.fitting import fitted, sides, usual
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import reference_for
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources import open_model
from sde_diffusion.sampling.execute import STATE_DTYPES, Execution
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.identity import TARGET
from sde_diffusion.system.names import component
from sde_diffusion.system.notice import begun, later, new_job
from sde_diffusion.system.output import FORMAT, Output
from sde_diffusion.system.processes import job_ended, local_device, rank
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.tracking import Job, NoTracker, Tracker, Unfailing
from sde_diffusion.tasks.composed import guided

T = TypeVar("T")
USUAL = "mnist-cnn"  # the extractor of a config that chooses none
# Seconds that rank 0 waits for the others to look no longer for parts that are to be removed.
GRACE = 5.0
# What is asked of a model.
WISHES = ("label", "prompt", "negative", "embedded_guidance", "layout", "reference")
# Of the network, whose bfloat16 is twice as fast where the processor has it.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@final
class Run(Generic[T]):
    """A job in its folder, which no other may write into until the block ends.

        with Run(config, folder, SampleTask) as run:
            ...  # all that can be refused
            run.begin()
            ...  # the work

    Attributes:
        config: of the whole job. task: its own keys, checked. output: the folder and the tracker.
        pictures: the shape (C, H, W) of those that a task without a model judges, once it is known.
        judging: the images of the reference, where the task has read them.
    """

    def __init__(self, config: DictConfig, folder: Path, schema: type[T], *others: str) -> None:
        new_job()
        self.config = config
        self.task: T = read(config, schema, *others)
        tracker: Tracker = NoTracker() if rank() else build(config.tracker, "tracker", Tracker)
        self.output = Output(folder, Unfailing(tracker))
        self.pictures: tuple[int, ...] | None = None
        self.judging: ImageSet | None = None
        self._stack = ExitStack()
        self._spent: list[Path] = []
        self._began = time.perf_counter()

    def __enter__(self) -> Run[T]:
        self._stack.enter_context(self.output.held())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if kind is None:
            self.output.tracker.complete()
        job_ended(kind is None, GRACE if self._spent else 0.0)
        for path in self._spent if kind is None else ():
            shutil.rmtree(path, ignore_errors=True)

    @property
    def helps(self) -> bool:
        """Whether this is not the process that judges, draws, writes and speaks: its share of the
        parts is all that it does."""
        return rank() > 0

    def say(self, line: str) -> None:
        """A line on stdout, said once."""
        if not self.helps:
            print(line)

    def discard(self, parts: Path) -> None:
        """A folder of parts that are no longer needed once the job has ended well."""
        if not self.helps:
            self._spent.append(parts)

    def begin(self, *tags: str) -> None:
        """The work begins: the tracker hears of the job, and ``seconds`` are counted."""
        begun()
        folder = self.output.folder
        name = str(self.config.task)
        swept = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        group = folder.absolute().parent.name if swept else name  # one for the jobs of a sweep
        config = plain(self.config)
        words = described(config)
        tags = tuple(dict.fromkeys((*tags, name, *words.values())))
        job = Job(config, folder, name, group, tags, " ".join((name, *words.values())))
        self.output.tracker.start(job)
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return round(time.perf_counter() - self._began, 1)

    @cached_property
    def device(self) -> torch.device:
        """Of the key ``device``; of several processes each takes the GPU of its own number."""
        return local_device(usable_device(str(self.config.device)))

    @cached_property
    def execution(self) -> Execution:
        """Of ``batch_size``, ``dtype`` (of the state: float32 where a task has no such key) and
        ``device``."""
        name = str(self.config.get("dtype", "float32"))
        dtype = STATE_DTYPES[choice("dtype", name, STATE_DTYPES)]
        return Execution(int(self.config.batch_size), dtype, self.device)

    @cached_property
    def precision(self) -> str:
        """Of the network, by the key ``precision``: float32 where a task has no such key."""
        return checked(str(self.config.get("precision", "float32")))

    @cached_property
    def model(self) -> OpenedModel:
        """The model of ``checkpoint``, on the device."""
        source = plain(self.config).get("source") or {}
        model = open_model(str(self.config.checkpoint), precision=self.precision, **source)
        model.denoiser.to(self.device).requires_grad_(False)
        if line := slower(self.precision, self.device):
            later(line)
        laid_out, compiled = (bool(self.config.get(key)) for key in ("channels_last", "compile"))
        carry_out(model.denoiser, self.device, laid_out, compiled)
        return model

    @cached_property
    def denoiser(self) -> Denoiser:
        """The model's denoiser inside the guidance."""
        return guided(self.config, self.model.denoiser)

    def condition(self, seeds: Any, classes: int = 0) -> Condition | None:
        """The condition that the keys of the task wish for, for these seeds; ``classes`` are those
        of guidance."""
        config = plain(self.config)
        wishes = {word: config.get(word) for word in WISHES}
        check_sentences(wishes)
        path = config.get("prompts")
        if path is not None:
            if wishes["prompt"] is not None:
                raise InputError("prompts: prompt is given too; leave one of the two out")
            self.model.check_takes("prompt", path, "prompts")
            wishes["prompt"] = in_turn(path, prompt_lines(path), len(seeds))
        with of_file(path):
            return self.model.condition(wishes, seeds, classes)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of the pictures (C, H, W) that are judged: those that the model draws, or ``pictures``;
        None where only a codec knows."""
        if "checkpoint" not in self.config:
            return self.pictures
        space = self.model.denoiser.space
        return space.shape if space.kind is Kind.PIXELS and None not in space.pattern else None

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor that judges, told the ``shape`` of the pictures: where none was chosen, the
        one of the model's data."""
        shape = self.shape
        node = fitted(plain(self.config.extractor), shape)
        extractor: Extractor = build(node, "extractor", Extractor)
        if "checkpoint" not in self.config or shape is None or not self._usual_extractor():
            return extractor
        spec = self.model.spec
        named = usual(shape, "" if spec is None else spec.data)
        ((name, fields),) = named.items()
        fitting: Extractor = groups.make("extractor", name, **{**sides(name, shape), **fields})
        if fitting.identity() != extractor.identity():
            later(f"extractor={name}: that of the model's data; none was chosen")
        return fitting

    def _usual_extractor(self) -> bool:
        """Whether the config's extractor is the one that stands there by itself."""
        return plain(self.config.extractor) == dict(groups.node("extractor", USUAL))

    @cached_property
    def reference(self) -> ReferenceSet:
        """What it judges by."""
        return reference_for(self.extractor, self.config.reference, self.judging, self.shape)

    def result(self, facts: dict[str, Any]) -> None:
        """result.json: the facts, and everything that they depend on."""
        model = self.model if "model" in vars(self) else None
        facts = {"format": FORMAT, **facts, **self.provenance(model)}
        self.output.json("result.json", facts)

    def provenance(self, model: OpenedModel | None) -> dict[str, Any]:
        """The model, if there is one, the machine, the date, the command and the config."""
        command = typed()
        asked = {} if command is None else {"command": command}
        return {**asked, **provenance(model, self.recorded())}

    def recorded(self, *without: str) -> dict[str, Any]:
        """The config as plain values, ``without`` some keys."""
        hidden = {"hydra", *without}
        return {name: value for name, value in plain(self.config).items() if name not in hidden}


def described(config: Mapping[str, Any]) -> dict[str, str]:
    """What tells a job from others of its task: model, data, network, solver, NFE."""
    words = {}
    if config.get("checkpoint"):
        path = Path(str(config["checkpoint"]))
        words["model"] = path.parent.name if path.stem in ("model", "checkpoint") else path.stem
    for group in ("data", "network", "solver"):
        if (node := config.get(group)) and TARGET in node:
            words[group] = groups.typed(group, component(str(node[TARGET])))
    if config.get("solvers"):
        names = (each if isinstance(each, str) else "+".join(each) for each in config["solvers"])
        words["solver"] = ",".join(names)
    if numbers := _budgets(config):
        words["nfe"] = "nfe" + ",".join(map(str, numbers))
    return words


def _budgets(config: Mapping[str, Any]) -> list[int]:
    """Numbers of evaluations of a job, those that entries of its solvers have of their own too."""
    asked = [config.get("nfe")]
    for entry in config.get("solvers") or ():
        settings = entry.values() if isinstance(entry, Mapping) else ()
        asked += [each.get("nfe") for each in settings if isinstance(each, Mapping)]
    lists = (each if isinstance(each, list) else [each] for each in asked if each is not None)
    return list(dict.fromkeys(nfe for each in lists for nfe in each))


def provenance(model: OpenedModel | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """The model, if there is one, the machine, the date, and all that was asked for."""
    names = {}
    if model is not None:
        names = {"model": model.name, "model_fingerprint": model.fingerprint}
    return {**names, **machine(), "config": dict(config)}


def check_sentences(wishes: Mapping[str, Any]) -> None:
    """InputError for a file in the place of a sentence, whose name would be read as one."""
    for word in ("prompt", "negative"):
        sentence = wishes[word]
        if isinstance(sentence, str) and Path(sentence).suffix and os.path.isfile(sentence):
            file = f"prompts={sentence}, of a sentence a line" if word == "prompt" else "a sentence"
            raise InputError(f"{word}={sentence}: a file, no sentence; give {file}")
