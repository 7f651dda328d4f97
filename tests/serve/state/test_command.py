"""`ayllu serve` as a process that is killed and started again on the same state."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

SECRET = "pomegranate"


@contextmanager
def command(folder: Path, home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    asked = [sys.executable, "-m", "ayllu.cli", "serve", str(folder), "--port", "0", "--engine", "torch", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "AYLLU_HOME": str(home)}
    with subprocess.Popen(asked, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        try:
            while not (found := re.search(r"http://\S+", line := server.stderr.readline())):
                assert line, "it has ended"
            yield server, found[0]
        finally:
            server.kill()


def test_an_answer_outlives_the_process_and_is_in_no_log(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere.db"
    given = ["--state", str(place), "--keep-days", "7"]
    with command(folder, tmp_path, *given) as (server, url):
        body = {"input": f"Say {SECRET}", "max_output_tokens": 4, "metadata": {"a": SECRET}}
        made = httpx2.post(f"{url}/v1/responses", json=body, timeout=60).json()
        refused = httpx2.post(f"{url}/v1/responses", json={**body, "tools": [{"type": SECRET}]}, timeout=60)
        assert refused.status_code == 400
        server.send_signal(signal.SIGKILL)
        assert server.stderr is not None
        assert SECRET not in server.stderr.read()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    with command(folder, tmp_path, *given) as (_, url):
        assert httpx2.get(f"{url}/v1/responses/{made['id']}").json() == made


def test_a_state_that_cannot_be_used_stops_the_command_before_the_model_is_loaded(folder: Path, tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "ayllu.cli", "serve", str(folder), "--port", "0", "--state", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "cannot be used" in done.stderr and "Traceback" not in done.stderr


LOADING = """
import sys, time
from ayllu.serve.engines.process import child
def slow(*args, **options):
    open(sys.argv[1], "w").close()
    time.sleep(60)
child.open_engine = slow
child.main(int(sys.argv[2]))
"""
LOADS = """
import sys
from ayllu.cli.main import main
from ayllu.serve.engines.process import supervised
supervised.PROGRAM = ("-c", sys.argv[3], sys.argv[1])
main(["serve", sys.argv[2], "--port", "0"])
"""


def test_sigterm_while_a_model_is_loaded_ends_the_command_and_the_engines_process(folder: Path, tmp_path: Path) -> None:
    """Also where it is the first process of a container, for which the system itself does nothing."""
    began = tmp_path / "began"
    environment = os.environ | {"AYLLU_HOME": str(tmp_path / "home")}
    with subprocess.Popen(
        [sys.executable, "-c", LOADS, str(began), str(folder), LOADING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        while not began.exists():
            assert server.poll() is None
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        # The engine's process has the same stderr: that it is read to its end says that both have left it.
        out, err = server.communicate(timeout=30)
    assert (server.returncode, out) == (143, "")
    assert err == "ayllu: told to stop; nothing is served\n"
