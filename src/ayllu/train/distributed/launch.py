"""The start of a job's processes on this machine: torchrun takes the place of the process that was started alone."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Sequence

from ayllu.lab.error import UserError
from ayllu.train.distributed.layout import Layout


def processes_missing(layout: Layout) -> bool:
    """Whether this process is alone where `layout` needs several: nothing like torchrun has started it."""
    return layout.devices > 1 and "RANK" not in os.environ


def start_job(layout: Layout, command: Sequence[str], *, nodes: int = 1) -> None:
    """Run `command` (words behind `python`, such as `-m ayllu.cli run cria`) in as many processes as `layout` needs.

    torchrun takes this process's place, brings its processes together and starts those again that die: this returns
    only by raising. UserError when the devices are no whole share of the nodes, and, with what to start on each of
    them, when there are several nodes: one command starts one node's processes.
    """
    if layout.devices % nodes:
        raise UserError(f"the layout's {layout.devices} devices cannot be shared by {nodes} nodes; change one of them")
    if nodes > 1:
        # Drawn anew each time: jobs that meet at one place under one name would become one training.
        name = secrets.token_hex(4)
        port = 10_000 + int(name, 16) % 20_000
        torchrun = f"torchrun --nnodes {nodes} --nproc-per-node {layout.devices // nodes} --rdzv-backend c10d"
        raise UserError(
            f"one command starts one node's processes: on each of the {nodes} nodes run `{torchrun} "
            f"--rdzv-id {name} --rdzv-endpoint FIRST-NODE:{port} {shlex.join(command)}`, "
            "or let `ayllu fleet launch` do it"
        )
    started = ["--standalone", f"--nproc-per-node={layout.devices}", "--max-restarts=3", *command]
    # Each process would take all cores otherwise.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // layout.devices, 1)))
    os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", *started])
