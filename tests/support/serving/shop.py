"""A real MCP server, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "programs" / "shop.py"


@contextmanager
def mcp_shop(sold: Path) -> Iterator[str]:
    """The address of a shop that writes what it sells into the file `sold`."""
    with subprocess.Popen([sys.executable, str(PROGRAM), str(sold)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), "the server did not start"
        yield url
        process.terminate()
