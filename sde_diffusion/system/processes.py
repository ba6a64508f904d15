"""Several processes that are one run: all that knows ``torch.distributed``.

``torchrun`` starts them. In training each does the same work on its own share of every batch; in
other tasks each makes those parts that it takes first. The first one, rank 0, writes. Without
``torchrun`` there is one process, and everything here is the identity.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from sde_diffusion.errors import InputError

# torch.distributed.fsdp and .tensor take half a second to import: only where weights are spread.

T = TypeVar("T")
# How long one process waits for another that is alive: compiling and validating take a while.
PATIENCE = timedelta(minutes=10)
# Seconds between two looks whether rank 0 has done with a job.
PAUSE = 0.1
# What the processes of this run, if they are several, leave messages in.
_stores: list[PrefixStore] = []
_ended = itertools.count()


class ProcessLost(InputError, RuntimeError):
    """Another process of the run has gone, or answers no more."""


def rank() -> int:
    """The number of this process, 0 for the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes the run has."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(timeout: timedelta = PATIENCE) -> Iterator[None]:
    """This process among those that ``torchrun`` has started, until the block ends.

    CPU tensors go over gloo, those of a GPU over NCCL. ProcessLost if the others do not come, or
    one of them goes while the block runs.
    """
    with lost_named():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if torch.cuda.is_available() and local < torch.cuda.device_count():
            torch.cuda.set_device(local)
        store, own_rank, world = next(rendezvous("env://", timeout=timeout))
        # torchrun's store outlives a restart, and with it the addresses of those that died.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = PrefixStore(f"attempt {attempt}", store)
        dist.init_process_group(store=store, rank=own_rank, world_size=world, timeout=timeout)
        _stores[:] = [PrefixStore("jobs", store)]
        yield
    _stores.clear()
    # Not after an error: leaving in good order would wait for those that are gone.
    dist.destroy_process_group()


@contextmanager
def lost_named() -> Iterator[None]:
    """Turns what a collective raises when a process has gone into ProcessLost, one line."""
    try:
        yield
    except InputError:
        raise
    except RuntimeError as error:
        text = re.sub(r"^\[[^]]*\] ", "", " ".join(str(error).split()))  # less the line of C++
        if isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in text:
            raise ProcessLost(
                f"another process of this run is gone or hangs ({text[:100]}); "
                "the same command goes on from the last checkpoint"
            ) from error
        raise


def local_device(device: torch.device) -> torch.device:
    """The device of this process: each takes the GPU of its own number."""
    if size() == 1 or device.type == "cpu" or device.index is not None:
        return device
    return torch.device(device.type, int(os.environ.get("LOCAL_RANK", "0")))


def from_first(value: T) -> T:
    """What rank 0 gives as ``value``, on every rank."""
    if size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    return cast(T, box[0])


def from_all(value: T) -> list[T]:
    """``value`` of each rank in turn, on every rank."""
    if size() == 1:
        return [value]
    box: list[Any] = [None] * size()
    dist.all_gather_object(box, value)
    return box


def total(value: Tensor) -> Tensor:
    """The sum of ``value`` over all ranks, on every rank."""
    if size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def job_ended(well: bool, grace: float = 0.0) -> None:
    """The end of a job, of each process. Those that end ``well`` wait for rank 0, however long.

    They would wait at the beginning of the next job else, and no longer than ``PATIENCE``. Rank 0
    waits for the others too, ``grace`` seconds at most: one of them may be gone.
    """
    job, others = next(_ended), [0] if rank() else range(1, size())
    if size() == 1:
        return
    store, began = _stores[0], time.monotonic()
    store.set(f"job {job} rank {rank()}", "ended")
    awaited = [f"job {job} rank {other}" for other in others]
    while well and not store.check(awaited):
        if rank() == 0 and time.monotonic() - began > grace:
            return
        time.sleep(PAUSE)


def replicated(module: nn.Module) -> nn.Module:
    """``module`` with its gradients averaged over the ranks (DDP)."""
    return DistributedDataParallel(module) if size() > 1 else module


def shard(module: nn.Module) -> None:
    """Spread the weights of ``module`` over the ranks, in place (FSDP2); its gradients follow.

    The members of its lists of blocks are gathered one at a time, the rest together.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(next(module.parameters()).device.type, (size(),))
    for holder in reversed(list(module.modules())):  # inner ones first, as fully_shard wants it
        if isinstance(holder, nn.ModuleList | nn.ModuleDict):
            for child in holder.children():
                unit = not isinstance(child, nn.ModuleList | nn.ModuleDict | FSDPModule)
                if unit and any(True for _ in child.parameters()):
                    fully_shard(child, mesh=mesh)
    # By default the outermost stays whole after a call, for a backward pass that averages lack.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)


@contextmanager
def synchronised(module: nn.Module, now: bool) -> Iterator[None]:
    """In this block gradients are averaged over the ranks if ``now``, else only added up."""
    if isinstance(module, DistributedDataParallel) and not now:
        with module.no_sync():
            yield
    else:  # FSDP adds up shards, which are averages already
        yield


def whole(value: Tensor) -> Tensor:
    """A tensor that is spread over the ranks, gathered on each; all ranks must ask."""
    return cast(Any, value).full_tensor() if _spread(value) else value


def spread_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread over the ranks as ``like`` of the same shape is."""
    if not _spread(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    target = cast(Any, like)
    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements)


def _spread(value: Tensor) -> bool:
    if size() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)
