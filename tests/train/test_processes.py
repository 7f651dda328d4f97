"""What carries the messages between the processes of a job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_collectives_that_overlap_leave_the_heap_whole() -> None:
    """With gloo as torch 2.13 makes it, two of three such jobs died of a signal within seconds."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = str(Path(__file__).with_name("overlap.py"))
    done = subprocess.run([sys.executable, *launcher, program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
