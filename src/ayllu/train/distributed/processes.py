"""The processes of a job: how they find each other, what carries their messages, and what each computes on."""

from __future__ import annotations

import atexit
import os
import time
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

TIMEOUT = timedelta(minutes=10)
GLOO = "gloo_in_order"
"""The name under which torch knows `_gloo`."""


def start_processes() -> tuple[int, int]:
    """Join the other processes when torchrun started this one; returns rank and number of processes."""
    if "RANK" not in os.environ:
        return 0, 1
    # Also where another program has joined them already: checkpoints make a group of their own.
    if not hasattr(dist.Backend, GLOO.upper()):
        dist.Backend.register_backend(GLOO, _gloo, devices=["cpu"])
        # A thread of gloo that lets go of its last tensor while the interpreter ends takes the process down.
        atexit.register(time.sleep, 0.1)
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # gloo carries the checkpoints' small messages where nccl carries the training.
        backend = f"cpu:{GLOO},cuda:nccl" if torch.cuda.is_available() else GLOO
        store, rank, size = next(dist.rendezvous("env://", timeout=TIMEOUT))
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            # torchrun keeps its store when it starts processes again, and with it the addresses of the dead.
            store = dist.PrefixStore(f"start-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return dist.get_rank(), dist.get_world_size()


def _gloo(store: dist.Store, rank: int, size: int, timeout: timedelta) -> Any:
    """gloo as torch makes it, with one thread instead of two for each network.

    Two threads of a group race in torch 2.13: as each ends a collective it writes the collective's name into one string
    of the group (`pgStatus_->lastCompletedWorkName`, unlocked). Names of 16 letters and more lie on the heap, which
    breaks: a process dies of SIGSEGV or SIGABRT now and then where all-gathers overlap, as DTensor's do.
    """
    gloo: Any = dist.ProcessGroupGloo
    names = [name for name in os.environ.get("GLOO_SOCKET_IFNAME", "").split(",") if name]
    options = gloo._Options()
    options._devices = [gloo.create_device(interface=name) for name in names] or [gloo.create_default_device()]
    options._threads = 1
    options._timeout = timeout
    return gloo(store, rank, size, options)


def device() -> torch.device:
    """What this process computes on."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
