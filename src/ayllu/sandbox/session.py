"""Runs in a sandbox: one program, or the cells of a conversation whose state is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from ayllu.sandbox import fonts
from ayllu.sandbox.box import Box, Exchange
from ayllu.sandbox.files import checked
from ayllu.sandbox.outcome import Limits, Outcome, Status
from ayllu.sandbox.packages import PACKAGES

PNG = b"\x89PNG\r\n\x1a\n"
SIGNALLED = 128
"""bubblewrap's exit code for a program that a signal ended is this and the signal's number."""
STOPPED: Mapping[Status, str] = {
    "time": "it took more than {seconds:g} seconds",
    "memory": "it took more than {memory_mib:,} MiB of memory",
    "processes": "it had more than {processes} processes and threads",
    "output": "it wrote without end",
    "cancelled": "it was told to stop",
}


class Session:
    """An interpreter in a sandbox, kept from cell to cell; started when it is needed, and again after it was ended.

    One thread may run cells; any may call `cancel`. A session is to be closed.
    """

    def __init__(
        self, *, limits: Limits | None = None, packages: Sequence[str] = PACKAGES, cgroups: bool = True
    ) -> None:
        """`packages`: what may be imported, as far as it is installed; without `cgroups` we count ourselves."""
        self.limits = limits or Limits()
        self._packages, self._cgroups = tuple(packages), cgroups
        self._box: Box | None = None
        self._known: dict[str, bytes] = {}
        self._lost: str | None = None
        self._fonts = True

    def run(self, code: str, *, files: Mapping[str, bytes] | None = None, seconds: float | None = None) -> Outcome:
        """Run a cell; `files` are put into the work folder first. Raises NoSandbox, and ValueError for a bad name.

        A cell that runs into its time is interrupted and its state kept, where it lets itself be interrupted. Where the
        sandbox was ended, the files that we know are there again in the next run; its variables are not.
        """
        return self._run(code, files or {}, seconds)

    def program(
        self,
        code: str,
        *,
        files: Mapping[str, bytes] | None = None,
        seconds: float | None = None,
        stdin: str = "",
        arguments: Sequence[str] = (),
        name: str = "program.py",
    ) -> Outcome:
        """Run a whole program as `python NAME ARGUMENTS` would: with its own `__main__`, and killed at its time."""
        return self._run(code, files or {}, seconds, whole=True, stdin=stdin, arguments=list(arguments), name=name)

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files of the work folder by path, as far as they are known: those given, and those that runs left."""
        return self._known

    def forget(self, path: str) -> None:
        """Know no more of a file, so that no new sandbox has it."""
        self._known.pop(path, None)

    def cancel(self) -> None:
        """Stop what runs now, and lose its state."""
        if (box := self._box) is not None:
            box.kill()

    def processes(self) -> list[int]:
        """The processes that are in the sandbox now, by their numbers on this machine."""
        return self._box.members() if self._box is not None else []

    def close(self) -> None:
        """End the interpreter and everything that it has started."""
        if self._box is not None:
            self._box.close()
            self._box = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(
        self,
        code: str,
        files: Mapping[str, bytes],
        seconds: float | None,
        *,
        whole: bool = False,
        stdin: str = "",
        arguments: Sequence[str] = (),
        name: str = "",
    ) -> Outcome:
        given = {checked(path): content for path, content in files.items()}
        notes = []
        box = self._box
        if box is None or box.killed.is_set():
            self.close()
            if self._lost:
                notes.append(self._lost)
            given = {**self._known, **given}
            more = fonts.options(self._packages, _without_fonts) if self._fonts else []
            box = self._box = Box(self.limits, self._packages, cgroups=self._cgroups, more=more)
            self._lost = None
        header = {"code": code, "whole": whole, "stdin": stdin, "arguments": list(arguments), "name": name}
        seconds = min(seconds or self.limits.seconds, self.limits.seconds)
        began = time.monotonic()
        try:
            done = box.exchange(
                {**header, "files": list(given)}, list(given.values()), seconds=seconds, interrupt=not whole
            )
        except BaseException:
            self.close()
            raise
        outcome = _outcome(box, done, seconds, time.monotonic() - began, notes, whole)
        self._known |= {**given, **outcome.files}
        for path in outcome.removed:
            self.forget(path)
        if not outcome.state_kept:
            self._lost = "the interpreter is a new one: variables from before are gone"
            self.close()
        return outcome


def _without_fonts(program: str) -> Outcome:
    """What makes the list of fonts cannot have it yet."""
    with Session(limits=Limits(seconds=fonts.SECONDS), packages=("matplotlib",)) as session:
        session._fonts = False
        return session.program(program)


def run(
    program: str,
    *,
    seconds: float = 10.0,
    memory_mib: int = 512,
    files: Mapping[str, bytes] | None = None,
    stdin: str = "",
    arguments: Sequence[str] = (),
    packages: Sequence[str] = PACKAGES,
    limits: Limits | None = None,
) -> Outcome:
    """Run one whole Python program in a sandbox of its own. Raises NoSandbox: without a sandbox nothing runs.

    `limits` replaces `seconds` and `memory_mib` and says the rest.
    """
    with Session(limits=limits or Limits(seconds=seconds, memory_mib=memory_mib), packages=packages) as session:
        return session.program(program, files=files, stdin=stdin, arguments=arguments)


def _outcome(box: Box, done: Exchange, seconds: float, took: float, notes: list[str], whole: bool) -> Outcome:
    kept = box.limits.output_kib << 10
    if done.written > len(done.stdout) + len(done.stderr):
        notes = [*notes, f"of the output the first {kept:,} bytes are kept"]
    said: dict[str, Any] = {
        "stdout": done.stdout.decode("utf-8", "replace"),
        "stderr": done.stderr.decode("utf-8", "replace"),
        "seconds": took,
    }
    if done.header is None:
        return Outcome(**said, **_stopped(box, done, seconds, whole), notes=tuple(notes))
    header = done.header
    pictures, files, more = _brought(header, done.blobs)
    code = header.get("exit") if isinstance(header.get("exit"), int) else None
    error = header.get("error") if isinstance(header.get("error"), str) else None
    status: Status = "ok" if code == 0 else "error"
    if done.interrupted:
        status = "time"
        error = f"{_sentence('time', box.limits, seconds)} and was interrupted\n{error or ''}".rstrip()
    elif header.get("memory") is True:
        status = "memory"
    return Outcome(
        **said,
        status=status,
        value=header.get("value") if isinstance(header.get("value"), str) else None,
        error=error,
        exit_code=code,
        pictures=pictures,
        files=files,
        removed=tuple(name for name in _strings(header.get("gone")) if name not in files),
        notes=(*notes, *more),
        state_kept=True,
    )


def _stopped(box: Box, done: Exchange, seconds: float, whole: bool) -> dict[str, Any]:
    """What is told of a run after which the sandbox is no more."""
    code = box.poll()
    if done.stopped == "ended" and whole and code is not None and code < SIGNALLED:
        return {"status": "error" if code else "ok", "exit_code": code}  # it left by os._exit
    status = done.stopped or "ended"
    if status == "ended" and code is not None and code > SIGNALLED:
        why = f"it was ended by signal {code - SIGNALLED}"
    else:
        why = _sentence(status, box.limits, seconds)
    return {"status": status, "error": why if whole else f"{why}; its variables are lost"}


def _sentence(status: Status, limits: Limits, seconds: float) -> str:
    named = {name: getattr(limits, name) for name in ("memory_mib", "processes")}
    return STOPPED.get(status, "it ended by itself").format(**named, seconds=seconds)


def _brought(
    header: Mapping[str, Any], blobs: Sequence[bytes]
) -> tuple[tuple[bytes, ...], dict[str, bytes], list[str]]:
    """Pictures, files and notes of a reply, as far as they are what they should be."""
    count = header.get("pictures")
    first = count if isinstance(count, int) and 0 <= count <= len(blobs) else 0
    pictures = tuple(blob for blob in blobs[:first] if blob.startswith(PNG))
    files: dict[str, bytes] = {}
    names = header.get("files")
    for name, content in zip(names if isinstance(names, list) else [], blobs[first:], strict=False):
        try:
            files[checked(name)] = content
        except (ValueError, TypeError, AttributeError):
            continue
    return pictures, files, [note[:500] for note in _strings(header.get("notes"))]


def _strings(value: object) -> list[str]:
    """The words of a list that a program may have written; nothing of what is no list."""
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
