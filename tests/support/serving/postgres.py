"""A real PostgreSQL server for tests, in a folder of its own, reached through a socket in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.parts import need, need_module


@contextmanager
def postgres() -> Iterator[str]:
    """A server on no port; gives a URL of its database `postgres`. The test is passed over where there is none."""
    need_module("psycopg", "the package psycopg is not installed")
    need(programs := _programs(), "no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    # A socket's path may have 107 bytes, which pytest's folders reach.
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        place = Path(name)
        user = _lesser_user(place)
        # What is written need not outlive the test.
        options = f"-c listen_addresses='' -c unix_socket_directories='{place}' -c fsync=off -c max_connections=40"

        def run(*command: str) -> None:
            subprocess.run(command, check=True, capture_output=True, user=user, cwd=place, timeout=120)

        data = str(place / "data")
        run(str(programs / "initdb"), "--no-sync", "-A", "trust", "-U", "ayllu", "-E", "UTF8", "--locale=C", data)
        run(str(programs / "pg_ctl"), "-D", data, "-l", str(place / "log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql://ayllu@/postgres?host={place}"
        finally:
            run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")


def _programs() -> Path | None:
    """The folder of initdb; distributions keep it off the path."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "pg_ctl").exists()), None)


def _lesser_user(place: Path) -> str | None:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    names = [entry.pw_name for entry in pwd.getpwall()]
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(place, user)
    return user
