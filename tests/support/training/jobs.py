"""Training programs in processes of their own, forked from one that has imported torch.

Importing it takes longer than most of these programs compute, and a job imports it once for each process and each
start. What is forked has computed nothing and has one thread.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["support.training.imported"])


def start(program: Path, *words: str, log: Path, torchrun: Sequence[str] = ()) -> BaseProcess:
    """Run a program, with `torchrun` under torchrun with these options; what it says is appended to `log`.

    Where torchrun starts processes again they are forked again. A worker is done when its program returns: torchrun
    waits for ever for one that leaves by `sys.exit(0)`.
    """
    process = _CONTEXT.Process(target=_run, args=(program, words, log, tuple(torchrun), dict(os.environ)))
    process.start()
    return process


def finish(process: BaseProcess, log: Path, *, seconds: float) -> None:
    """Wait for a program that must succeed."""
    process.join(seconds)
    if process.exitcode is None:
        process.terminate()
        process.join(30)
        process.kill()
        raise AssertionError(f"not done after {seconds:.0f} s:\n{log.read_text()[-3000:]}")
    assert process.exitcode == 0, log.read_text()[-3000:]


def _run(program: Path, words: Sequence[str], log: Path, torchrun: Sequence[str], environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if torchrun:
        from torch.distributed.run import main

        main([*torchrun, "--start-method=fork", "--run-path", str(program), *words])
    else:
        sys.argv = [str(program), *words]
        runpy.run_path(str(program), run_name="__main__")
