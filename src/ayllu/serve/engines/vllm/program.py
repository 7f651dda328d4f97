"""The program `vllm serve` for one folder, on a loopback port to which only we have the key."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.lab.visible import visible

LOOK = 0.2
"""Seconds between two looks at whether it is there."""
DYING = 5.0
"""Seconds after which one that broke a connection is believed to live."""
CLOSING = 20.0
"""Seconds that it has to end by itself."""
PR_SET_PDEATHSIG = 1
"""`linux/prctl.h`."""


class VllmProgram:
    """A started `vllm serve`, which ends with this process.

    It is the program of that name on PATH, so that vLLM can have an environment of its own: it pins another torch.
    Raises UserError where there is none.
    """

    def __init__(self, folder: Path, *, context: int, adapters: Mapping[str, Path]) -> None:
        program = shutil.which("vllm")
        if program is None:
            raise UserError(
                "the engine vllm needs the program vllm on PATH; install it (`uv tool install vllm`), give the URL of "
                "a running server as the engine, or choose another"
            )
        self.key, self.port = secrets.token_urlsafe(32), _free_port()
        command = [program, "serve", str(folder), "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--max-model-len", str(context), "--structured-outputs-config.backend", "guidance"]
        command += ["--served-model-name", folder.name, "--enable-prompt-tokens-details"]
        # What it says is kept for as long as it runs, so it says nothing of each request.
        command += ["--disable-uvicorn-access-log", "--disable-log-stats"]
        if adapters:
            command += ["--enable-lora", "--max-lora-rank", "64", "--lora-modules"]
            command += [f"{name}={place}" for name, place in adapters.items()]
        # The key is in no command line, which everybody on the machine could read.
        environment = os.environ | {"VLLM_API_KEY": self.key, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        say(f"vLLM loads {folder.name}")

    def wait(self) -> None:
        """Return once it answers, however long loading takes; UserError with its last words where it ends."""
        with httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=5) as client:
            while self.process.poll() is None:
                try:
                    if client.get("/health").status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                time.sleep(LOOK)
        raise UserError(f"vLLM ended at its start (exit code {self.process.returncode}): {self._last_words()}")

    def ended(self) -> bool:
        """Whether it has ended, or does within a moment."""
        try:
            self.process.wait(DYING)
        except subprocess.TimeoutExpired:
            return False
        return True

    def watch(self) -> None:
        """Return once it has ended, and none of its processes is left."""
        self.process.wait()
        self._kill_rest()

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(CLOSING)
        self._kill_rest()
        self.process.wait()
        self._words.close()

    def _kill_rest(self) -> None:
        # The server killed, its engine has been seen to stay, with all its memory.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        """The last line that says what was wrong."""
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - 20_000))
        lines = [line.strip() for line in self._words.read().decode(errors="replace").splitlines() if line.strip()]
        named = [line for line in lines if "Error" in line]
        return visible((named or lines or ["it said nothing"])[-1], longest=300)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Between fork and exec: whoever kills the server leaves no vLLM behind that holds a GPU."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
