"""One sandbox: the processes in it, the pipes to it, and who watches what they take."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayllu.sandbox import bubblewrap, cgroup, packages, seccomp
from ayllu.sandbox.outcome import Limits, NoSandbox, Status

# The kernel ends bubblewrap with the thread that started it (prctl PR_SET_PDEATHSIG), so that thread must stay.
_starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox starter")

TICK = 0.05
"""Seconds between two looks at what is taken."""
GRACE = 1.0
"""Seconds that a program has after it was interrupted, before it is killed."""
FLOOD = 16
"""A program is stopped when it has written so many times what is kept."""
START_SECONDS = 30.0
LONGEST_HEADER = 4 << 20
ENTER = 'for door in "$@"; do [ "$door" = -- ] && break; echo $$ > "$door" || exit 77; shift; done; shift; exec "$@"'
"""The shell's program that enters the cgroups before it becomes bubblewrap."""


@dataclass(kw_only=True)
class Exchange:
    """What came of one request."""

    header: dict[str, Any] | None = None
    """What the sandbox told; None where it was stopped."""
    blobs: list[bytes] = field(default_factory=list)
    stopped: Status | None = None
    interrupted: bool = False
    """Whether the program ran into its time, but left by itself."""
    stdout: bytes = b""
    stderr: bytes = b""
    written: int = 0
    """Bytes written to stdout and stderr, those that were dropped too."""


class Box:
    """A sandbox with an interpreter in it. It is made for one thread; `kill` may be called by any."""

    def __init__(
        self,
        limits: Limits,
        names: Sequence[str] = packages.PACKAGES,
        *,
        cgroups: bool = True,
        more: Sequence[str] = (),
    ) -> None:
        """Start it; `more` are further options of bubblewrap. Raises NoSandbox."""
        path = bubblewrap.require()
        self.limits, self.killed = limits, threading.Event()
        self._group = cgroup.make(limits) if cgroups else cgroup.Group(folders={})
        self._fds: list[int] = []
        self._unread = bytearray()
        try:
            self._start(path, names, more)
        except BaseException:
            self.close()
            raise

    def _start(self, path: str, names: Sequence[str], more: Sequence[str]) -> None:
        requests, self._requests = self._pipe()
        self._replies, replies = self._pipe()
        told, status = self._pipe()
        filter_fd = os.memfd_create("filter")
        self._fds.append(filter_fd)
        os.write(filter_fd, seccomp.program(str(seccomp.machine()), counted=self._group.counts("memory")))
        os.lseek(filter_fd, 0, os.SEEK_SET)
        limits = self.limits
        settings = {
            "requests": requests,
            "replies": replies,
            "memory": limits.memory_mib << 20,
            "file": limits.file_mib << 20,
            "processes": limits.processes,
            "returned": limits.returned_mib << 20,
        }
        options = bubblewrap.arguments(limits, names, filter_fd=filter_fd, status_fd=status, more=more)
        program = packages.interpreter()[1]
        command = [path, *options, "--", program, "-s", "/opt/inside.py", json.dumps(settings)]
        if doors := self._group.doors:
            command = ["/bin/sh", "-c", ENTER, "sh", *map(str, doors), "--", *command]
        self._process = _starter.submit(
            subprocess.Popen,
            command,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(requests, replies, filter_fd, status),
        ).result()
        assert self._process.stdout and self._process.stderr
        self._out, self._err = self._process.stdout.fileno(), self._process.stderr.fileno()
        for fd in (requests, replies, filter_fd, status):
            self._close(fd)
        for fd in (self._out, self._err, self._replies, self._requests):
            os.set_blocking(fd, False)
        self._first = self._first_process(told)
        ready = self.exchange(None, seconds=START_SECONDS)
        if ready.header is None:
            why = ready.stderr.decode("utf-8", "replace").strip() or "it did not say why"
            raise NoSandbox(f"Python does not start in the sandbox ({why[-500:]}), so nothing was run")

    def _first_process(self, told: int) -> int:
        """The number of the sandbox's first process, as bubblewrap tells it."""
        selector = selectors.DefaultSelector()
        selector.register(told, selectors.EVENT_READ)
        text, end = b"", time.monotonic() + START_SECONDS
        while time.monotonic() < end and selector.select(end - time.monotonic()):
            part = os.read(told, 4096)
            text += part
            with contextlib.suppress(ValueError):
                return int(json.loads(text)["child-pid"])
            if not part:
                break
        selector.close()
        self._process.kill()
        assert self._process.stderr
        os.set_blocking(self._err, True)
        why = self._process.stderr.read(500).decode("utf-8", "replace").strip() or "it did not say why"
        raise NoSandbox(f"the sandbox could not be started ({why}), so nothing was run")

    def exchange(
        self, header: Mapping[str, Any] | None, blobs: Sequence[bytes] = (), *, seconds: float, interrupt: bool = False
    ) -> Exchange:
        """Send a request, if there is one, and wait for what comes of it, but no longer than `seconds`.

        With `interrupt` the program gets SIGINT then, and a moment to leave, before everything is killed.
        """
        done = Exchange()
        self._resume()
        sending = memoryview(b"")
        if header is not None:
            head = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
            sending = memoryview(b"".join((struct.pack(">Q", len(head)), head, *blobs)))
        self._unread.clear()
        self._kills = self._group.kills()
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for fd in (self._out, self._err, self._replies):
                selector.register(fd, selectors.EVENT_READ)
            if sending:
                selector.register(self._requests, selectors.EVENT_WRITE)
            looked = 0.0
            while True:
                for key, _ in selector.select(TICK):
                    if key.fd == self._requests:
                        sending = self._write(sending)
                        if not sending:
                            selector.unregister(self._requests)
                    elif not self._take(key.fd, done):
                        selector.unregister(key.fd)
                if (message := self._message()) is not None:
                    done.header, done.blobs = message
                    break
                now = time.monotonic()
                if now >= end and interrupt and not done.interrupted:
                    done.interrupted, end = True, now + GRACE
                    self._signal(self._interpreter(), signal.SIGINT)
                if (stopped := self._why_stop(done, now >= end, now - looked >= TICK)) is not None:
                    done.stopped = stopped
                    self.kill()
                    break
                if now - looked >= TICK:
                    looked = now
        for fd in (self._out, self._err):
            while self._take(fd, done, blocking=False):
                pass
        if done.stopped is None:
            self._pause()
        return done

    def _why_stop(self, done: Exchange, late: bool, look: bool) -> Status | None:
        """What a program is to be stopped for, if anything."""
        if self.killed.is_set():
            return "cancelled"
        if self._process.poll() is not None:
            return "memory" if self._group.kills() > self._kills else "ended"
        if late:
            return "time"
        if done.written > FLOOD * (self.limits.output_kib << 10):
            return "output"
        return self._overdrawn() if look else None

    def _overdrawn(self) -> Status | None:
        """Which limit is passed that the kernel does not count for us."""
        if self._group.counts("memory") and self._group.counts("pids"):
            return None
        members = self.members()
        if not self._group.counts("pids") and sum(map(_threads, members)) > self.limits.processes + 1:
            return "processes"
        if not self._group.counts("memory") and sum(map(_memory, members)) > self.limits.memory_mib << 20:
            return "memory"
        return None

    def members(self) -> list[int]:
        """The processes in the sandbox, its reaper first."""
        found, waiting = [], [self._first]
        while waiting:
            found.append(one := waiting.pop())
            with contextlib.suppress(OSError, ValueError):
                for task in Path(f"/proc/{one}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return found

    def poll(self) -> int | None:
        """The exit code that bubblewrap gave, once all has ended."""
        return self._process.poll()

    def kill(self) -> None:
        """End every process in it, at once: they end with the first one."""
        self.killed.set()
        if hasattr(self, "_first"):
            self._signal(self._first, signal.SIGKILL)
        elif hasattr(self, "_process"):
            self._process.kill()

    def close(self) -> None:
        """End it, and take away what was made for it."""
        self.kill()
        if hasattr(self, "_process"):
            try:
                self._process.wait(1.0)  # it reaps the first process
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for stream in (self._process.stdout, self._process.stderr):
                if stream:
                    stream.close()
        for fd in list(self._fds):
            self._close(fd)
        for _ in range(100):
            self._group.remove()
            if not any(folder.exists() for folder in self._group.folders.values()):
                break
            time.sleep(0.01)  # the last processes are still on their way out

    def _pause(self) -> None:
        """Stop all of it between two runs: nothing computes that nobody waits for."""
        for one in self.members()[1:]:
            self._signal(one, signal.SIGSTOP)

    def _resume(self) -> None:
        for one in self.members()[1:]:
            self._signal(one, signal.SIGCONT)

    def _interpreter(self) -> int:
        return self.members()[1] if len(self.members()) > 1 else 0

    def _signal(self, process: int, number: int) -> None:
        if process > 0 and self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(process, number)

    def _take(self, fd: int, done: Exchange, *, blocking: bool = True) -> bool:
        """Read what is there; whether there may be more."""
        try:
            part = os.read(fd, 1 << 16)
        except BlockingIOError:
            return blocking
        if fd == self._replies:
            if len(self._unread) < LONGEST_HEADER + (self.limits.returned_mib << 20) + 8:
                self._unread += part
            return bool(part)
        done.written += len(part)
        most = self.limits.output_kib << 10
        if fd == self._out:
            done.stdout += part[: max(0, most - len(done.stdout))]
        else:
            done.stderr += part[: max(0, most - len(done.stderr))]
        return bool(part)

    def _message(self) -> tuple[dict[str, Any], list[bytes]] | None:
        """The reply, once all of it is there. It comes from the program, as far as anybody knows: all is checked."""
        if len(self._unread) < 8:
            return None
        (length,) = struct.unpack_from(">Q", self._unread)
        if length > LONGEST_HEADER:
            return {}, []
        if len(self._unread) < 8 + length:
            return None
        try:
            header = json.loads(self._unread[8 : 8 + length])
            sizes = [int(size) for size in header["sizes"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            return {}, []
        if any(size < 0 for size in sizes) or sum(sizes) > self.limits.returned_mib << 20:
            return {}, []
        if len(self._unread) < 8 + length + sum(sizes):
            return None
        at, blobs = 8 + length, []
        for size in sizes:
            blobs.append(bytes(self._unread[at : at + size]))
            at += size
        return header, blobs

    def _write(self, sending: memoryview) -> memoryview:
        try:
            return sending[os.write(self._requests, sending) :]
        except BlockingIOError:
            return sending
        except BrokenPipeError:
            return memoryview(b"")

    def _pipe(self) -> tuple[int, int]:
        pair = os.pipe()
        self._fds += pair
        return pair

    def _close(self, fd: int) -> None:
        self._fds.remove(fd)
        with contextlib.suppress(OSError):
            os.close(fd)


def _threads(process: int) -> int:
    try:
        return len(os.listdir(f"/proc/{process}/task"))
    except OSError:
        return 0


def _memory(process: int) -> int:
    """Bytes that a process has, files aside; what it shares with others counts in parts (proc_pid_smaps_rollup(5))."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    lines = (line.split() for line in text.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return sum(int(words[1]) << 10 for words in lines)
