"""What carries the messages between the processes of a job."""

from __future__ import annotations

import subprocess
import sys

from support.programs import PROGRAMS


def test_collectives_that_overlap_leave_the_heap_whole() -> None:
    """With gloo as torch 2.13 makes it, two of three such jobs died of a signal within seconds."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = str(PROGRAMS / "overlap.py")
    done = subprocess.run([sys.executable, *launcher, program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
