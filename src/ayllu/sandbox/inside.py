"""What runs in the sandbox: it takes one program after the other from a pipe, runs it, and tells what became of it.

It is started by its path, knows nothing of Ayllu, and imports the standard library only. A program can do to it what it
likes, for both stand behind the same walls; nothing that it tells is believed outside.

A message is 8 bytes (the length of its JSON), the JSON, and then the bytes whose sizes its field `sizes` lists.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import linecache
import os
import resource
import signal
import stat
import struct
import sys
import traceback
import types
import warnings
from collections.abc import Iterator
from typing import Any

WORK = "/work"
LONGEST_VALUE = 20_000
"""Characters of a value or a traceback that are told."""
MOST_PICTURES, MOST_FILES = 16, 256
Known = dict[str, tuple[int, int, int]]
"""The files of the work folder by path: inode, size, time of the last change."""


def main() -> None:
    """Take programs until the pipe is closed."""
    told = json.loads(sys.argv[1])
    requests, replies = told["requests"], told["replies"]
    for fd in (requests, replies):
        os.set_inheritable(fd, False)
    _bound(told)
    warnings.filterwarnings("ignore", message=".*non-interactive.*")
    sys.path[0] = ""  # a program finds its modules in the work folder, not beside this file
    me = os.getpid()
    main_module = types.ModuleType("__main__")
    sys.modules["__main__"] = main_module
    number = 0
    _send(replies, {}, [])  # ready
    while (request := _receive(requests)) is not None:
        number += 1
        header, blobs = request
        for name, blob in zip(header["files"], blobs, strict=True):
            _put(name, blob)
        if header["whole"]:
            main_module = types.ModuleType("__main__")
            sys.modules["__main__"] = main_module
        known = _look()
        reply = _run(header, number, main_module)
        if os.getpid() != me:  # the program forked, and this is the copy
            os._exit(0)
        reply, blobs = _gather(reply, known, told["returned"])
        with contextlib.suppress(OSError):  # what the program left running ends with it; 1 is the reaper
            os.kill(-1, signal.SIGKILL)
        _send(replies, reply, blobs)


def _bound(told: dict[str, Any]) -> None:
    """Limits that hold for each process, and that nothing in here may raise again."""
    memory = told["memory"]
    for name, value in (
        ("RLIMIT_AS", 2 * memory + (1 << 30)),
        ("RLIMIT_DATA", memory),
        ("RLIMIT_FSIZE", told["file"]),
        ("RLIMIT_NPROC", told["processes"]),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_RTPRIO", 0),
        ("RLIMIT_SIGPENDING", 1024),
    ):
        if hasattr(resource, name):
            resource.setrlimit(getattr(resource, name), (value, value))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever is started with & is born without
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows too large is an OSError


def _run(header: dict[str, Any], number: int, module: types.ModuleType) -> dict[str, Any]:
    """Run one program in `module`. Gives its value or its error."""
    name = header["name"] or f"cell {number}"
    code = header["code"]
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    sys.argv = [name, *header["arguments"]]
    module.__dict__.setdefault("__builtins__", __builtins__)
    if header["whole"]:
        module.__dict__["__file__"] = name
    _feed(header["stdin"])
    out, err, stdin = _text(1), _text(2), open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr, sys.stdin = out, err, stdin
    reply: dict[str, Any] = {}
    try:
        value = _execute(code, name, module, value=not header["whole"])
        if value is not None:
            module.__dict__["_"] = value
            reply["value"] = _shortened(repr(value))
            reply["shown"] = _shown(value)
        reply["exit"] = 0
    except SystemExit as left:
        code = left.code
        if isinstance(code, str):
            err.write(f"{code}\n")
        reply["exit"] = 0 if code is None else code & 0xFF if isinstance(code, int) else 1
    except BaseException as error:
        reply["exit"] = 1
        reply["stopped"] = isinstance(error, KeyboardInterrupt)
        reply["memory"] = isinstance(error, MemoryError)
        reply["error"] = _shortened(_traceback(error))
        if header["whole"]:
            with contextlib.suppress(Exception):
                err.write(reply["error"])
    for stream in (sys.stdout, sys.stderr, out, err):
        with contextlib.suppress(Exception):
            stream.flush()
    return reply


def _text(fd: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(fd, "w", closefd=False), 8192), "utf-8", errors="replace")


def _execute(code: str, name: str, module: types.ModuleType, *, value: bool) -> Any:
    """Run `code`; the value of a last expression, where that is asked for."""
    tree = ast.parse(code, name)
    last = None
    if value and tree.body and isinstance(end := tree.body[-1], ast.Expr):
        tree.body.pop()
        last = ast.Expression(end.value)
    exec(compile(tree, name, "exec"), module.__dict__)
    return None if last is None else eval(compile(last, name, "eval"), module.__dict__)


def _traceback(error: BaseException) -> str:
    """As Python prints it, from the program's own lines on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[: LONGEST_VALUE // 2]} … {text[len(text) - LONGEST_VALUE // 2 :]}"


def _feed(text: str) -> None:
    """Make `text` what the program reads from stdin."""
    reading, writing = os.pipe()
    if len(text.encode()) <= 4096:  # a pipe holds it
        os.write(writing, text.encode())
        source = reading
    else:
        with open("/tmp/stdin", "wb") as file:
            file.write(text.encode())
        os.close(reading)
        source = os.open("/tmp/stdin", os.O_RDONLY)
        os.unlink("/tmp/stdin")
    os.dup2(source, 0)
    for fd in (source, writing):
        os.close(fd)


def _shown(value: Any) -> str | None:
    """A value that is a picture, as a notebook asks for it: its PNG file in base64."""
    draw = getattr(type(value), "_repr_png_", None)
    if draw is None:
        return None
    with contextlib.suppress(Exception):
        return base64.b64encode(draw(value)).decode()
    return None


def _gather(reply: dict[str, Any], known: Known, most: int) -> tuple[dict[str, Any], list[bytes]]:
    """Put pictures and new files to the reply, up to `most` bytes, and the names of files that are gone.

    What is left out is named.
    """
    notes: list[str] = []
    blobs: list[bytes] = []
    size = 0
    pictures = []
    if shown := reply.pop("shown", None):
        pictures.append(base64.b64decode(shown))
    try:
        pictures += list(_figures())
    except Exception as error:
        notes.append(f"a figure could not be drawn: {_shortened(str(error))[:300]}")
    for picture in pictures[:MOST_PICTURES]:
        if size + len(picture) <= most:
            blobs.append(picture)
            size += len(picture)
    if len(blobs) < len(pictures):
        notes.append(f"{len(pictures) - len(blobs)} of {len(pictures)} pictures are left out")
    reply["pictures"] = len(blobs)
    names: list[str] = []
    there = _look()
    for name, state in sorted(there.items()):
        if known.get(name) == state:
            continue
        if len(names) >= MOST_FILES or size + state[1] > most:
            notes.append(f"{name} ({state[1]:,} bytes) stays inside: more than comes back from one run")
            continue
        try:
            with open(os.open(os.path.join(WORK, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                content = file.read(state[1])
        except OSError:
            continue
        names.append(name)
        blobs.append(content)
        size += len(content)
    return {**reply, "files": names, "gone": sorted(known.keys() - there.keys()), "notes": notes[:50]}, blobs


def _figures() -> Iterator[bytes]:
    """The open figures of matplotlib as PNG files; they are closed."""
    if "matplotlib.pyplot" not in sys.modules:
        return
    plt = sys.modules["matplotlib.pyplot"]
    for number in plt.get_fignums():
        buffer = io.BytesIO()
        plt.figure(number).savefig(buffer, format="png")
        yield buffer.getvalue()
    plt.close("all")


def _look() -> Known:
    """The regular files of the work folder; no link is followed."""
    found: Known = {}
    for folder, folders, names in os.walk(WORK):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                state = os.lstat(path)
                if stat.S_ISREG(state.st_mode):
                    found[os.path.relpath(path, WORK)] = (state.st_ino, state.st_size, state.st_mtime_ns)
    return found


def _put(name: str, content: bytes) -> None:
    path = os.path.join(WORK, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(content)


def _receive(fd: int) -> tuple[dict[str, Any], list[bytes]] | None:
    head = _read(fd, 8)
    if head is None:
        return None
    header = json.loads(_read(fd, struct.unpack(">Q", head)[0]) or b"")
    return header, [_read(fd, size) or b"" for size in header["sizes"]]


def _read(fd: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(fd: int, header: dict[str, Any], blobs: list[bytes]) -> None:
    head = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    for part in (struct.pack(">Q", len(head)), head, *blobs):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]


if __name__ == "__main__":
    main()
