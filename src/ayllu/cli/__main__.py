"""The program `ayllu`, and `python -m ayllu.cli`, which torchrun starts in every process."""

from __future__ import annotations

import os
import signal
from types import FrameType

from ayllu.cli.interrupt import AGAIN, INTERRUPTED
from ayllu.lab.loading import loading


def main() -> None:
    """Load the commands, and run the one that is asked for: Ctrl-C ends both in one sentence.

    Loading takes a third of a second, and much more from a slow disk. An exception in the middle of it would end in a
    traceback, or in a callback that swallows it; nothing has begun yet, so the process just leaves.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell may have it ignored
    if ours:
        signal.signal(signal.SIGINT, _leave)
    with loading():
        from ayllu.cli.main import main as command

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, f"\n{AGAIN}\n".encode())
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
