"""What there is to find on the host: files, sockets, a process and an environment that hold a token; and who came."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

VARIABLE = "AYLLU_SANDBOX_CANARY"
PREY = "as it was"
GUARD = """
import os, signal, sys, time
def struck(number, frame):
    open(os.path.join(sys.argv[1], "struck"), "w").close()
signal.signal(signal.SIGUSR1, struck)
print("ready", flush=True)
while True:
    time.sleep(60)
"""
LEFT = (Path("/usr/bin/ayllu-escape"), Path(os.__file__).with_name("ayllu_escape.py"), Path("/ayllu-escape"))
"""What attempts would leave that nobody makes outside."""


class Canaries:
    """Everything that attempts look for, for as long as the context lasts."""

    _guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Canaries:
        self.token, self.mark = secrets.token_hex(16), f"ayllu-{secrets.token_hex(8)}"
        self.folder = Path(tempfile.mkdtemp(prefix="ayllu-escape-"))
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._file("secret", self.token)
        self._file(self.token, "")  # its name is what a listing would tell
        self._shared = Path("/dev/shm") / self.mark
        with contextlib.suppress(OSError):
            self._shared.write_text(self.token)
            self._closing.callback(self._shared.unlink, missing_ok=True)
        self.inherited = os.open(self.folder / "secret", os.O_RDONLY)
        os.set_inheritable(self.inherited, True)
        self._closing.callback(os.close, self.inherited)
        os.environ[VARIABLE] = self.token
        self._closing.callback(os.environ.pop, VARIABLE, None)
        self._visits: list[str] = []
        self._serve()
        self.restore()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_guard()
        self._closing.close()

    def told(self) -> dict[str, Any]:
        """What an attempt is told: where to look, never what is there."""
        home = Path.home()
        return {
            "root": "/usr",
            "secret": str(self.folder / "secret"),
            "prey": str(self.folder / "prey"),
            "folder": str(self.folder),
            "home": str(home),
            "socket": str(self.folder / "socket"),
            "abstract": self.mark,
            "shared": self.mark,
            "mark": self.mark,
            "port": self._port,
            "datagrams": self._datagrams,
            "process": self._watched().pid,
            "group": self._watched().pid,
            "hostname": platform.node(),
            "user": getpass.getuser(),
            "uid": os.getuid(),
            "variable": VARIABLE,
        }

    def touched(self) -> list[str]:
        """What has been visited or changed since `restore`."""
        found = list(self._visits)
        if not (self.folder / "prey").is_file() or (self.folder / "prey").read_text() != PREY:
            found.append("a file of the host was changed")
        if (self.folder / "made").exists():
            found.append("a file was made on the host")
        if (self.folder / "struck").exists() or self._watched().poll() is not None:
            found.append("a signal came to a process of the host")
        return found + [f"{path} was made" for path in LEFT if path.exists()]

    def restore(self) -> None:
        """Everything as it was before."""
        self._visits.clear()
        self._file("prey", PREY)
        for name in ("made", "struck"):
            (self.folder / name).unlink(missing_ok=True)
        if self._guard is None or self._guard.poll() is not None:
            self._guard = subprocess.Popen(
                [sys.executable, "-S", "-c", GUARD, str(self.folder), self.mark, self.token],
                stdout=subprocess.PIPE,
                cwd=self.folder,
                start_new_session=True,
                env={VARIABLE: self.token},
            )
            assert self._guard.stdout
            self._guard.stdout.readline()

    def _watched(self) -> subprocess.Popen[bytes]:
        assert self._guard is not None
        return self._guard

    def _end_guard(self) -> None:
        guard = self._watched()
        with contextlib.suppress(OSError):
            os.kill(guard.pid, signal.SIGKILL)
        guard.wait()
        if guard.stdout:
            guard.stdout.close()

    def _file(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def _serve(self) -> None:
        """Sockets that give the token to whoever comes."""
        selector = selectors.DefaultSelector()
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        self._port, self._datagrams = tcp.getsockname()[1], udp.getsockname()[1]
        by_path, abstract = (socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2))
        by_path.bind(str(self.folder / "socket"))
        abstract.bind(f"\0{self.mark}")
        for one in (by_path, abstract):
            one.listen()
        reading, writing = os.pipe()
        selector.register(reading, selectors.EVENT_READ)
        for one in (tcp, udp, by_path, abstract):
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ)
        thread = threading.Thread(target=self._answer, args=(selector, reading), daemon=True)
        thread.start()

        def stop() -> None:
            os.write(writing, b".")
            thread.join()
            for one in (tcp, udp, by_path, abstract):
                one.close()
            selector.close()
            os.close(reading)
            os.close(writing)

        self._closing.callback(stop)

    def _answer(self, selector: selectors.BaseSelector, end: int) -> None:
        while True:
            for key, _ in selector.select():
                if key.fd == end:
                    return
                line = key.fileobj
                assert isinstance(line, socket.socket)
                self._visits.append("somebody connected to the host")
                with contextlib.suppress(OSError):
                    if line.type == socket.SOCK_DGRAM:
                        line.recv(4096)
                    else:
                        with line.accept()[0] as visitor:
                            visitor.send(self.token.encode())
