"""The engine's process: `python -P -m ayllu.serve.engines.process.child N`, N the socket that the server gave it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.serve.engines.accepts import Accepts
from ayllu.serve.engines.choose import open_engine
from ayllu.serve.engines.engine import Engine, EngineEnded, TextChunk
from ayllu.serve.engines.process.pacing import Pacer
from ayllu.serve.engines.process.wire import Message, Wire, chunk_to_json, request_from_json

log = logging.getLogger("ayllu.engine")
LOOK = 0.5
"""Seconds between two looks at whether the server is still there, while the engine is loaded."""
LEAVING = 8
"""Threads beside one for each answer: whoever has left may still be computed for a moment."""


def main(number: int) -> None:
    """Open the engine that the first message names, and answer until the server is gone."""
    # Whoever tells the server to stop may tell all processes; the server says when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what loading has put on the disk is removed
    loading = _leave_without(os.getppid())
    wire = Wire(socket.socket(fileno=number))
    messages = wire.messages()
    first = next(messages, None)
    if first is None:
        return
    try:
        adapters = {name: Path(folder) for name, folder in first["adapters"].items()}
        engine = open_engine(
            Path(first["folder"]),
            first["engine"],
            convert=True,
            bits=first["bits"],
            cache_bits=first["cache_bits"],
            adapters=adapters,
        )
    except UserError as error:
        wire.send({"refused": str(error)})
        return
    loading.set()  # from now on the end of the messages says it
    if (program := getattr(engine, "program", None)) is not None:
        threading.Thread(target=_end_with, args=(program,), daemon=True).start()
    # Answers under way may finish.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wire.send(
        {
            "ready": {
                "context": engine.context,
                "parameters": engine.parameters,
                "parallel": engine.parallel,
                "limits": getattr(engine, "limits", ""),
                "kind": type(engine).__name__,
                "embeds": hasattr(engine, "embed"),
                "accepts": _accepts(engine),
            }
        }
    )
    _Answers(engine, wire).run(messages)


def _accepts(engine: Engine) -> Message | None:
    """What `engine` says it takes; None where its own `check` must be asked, as of one that has changed that alone."""
    told = getattr(engine, "accepts", None)
    if not isinstance(told, Accepts):
        return None
    for kind in type(engine).__mro__:
        if vars(kind).keys() & {"__init__", "accepts"}:
            return asdict(told)
        if "check" in vars(kind):
            return None  # `accepts` is of a class above, which knows nothing of this one
    return asdict(told)


def _leave_without(server: int) -> threading.Event:
    """End this process where `server` ends before the event is set: loading may take a minute, and reads nothing."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(LOOK):
            if os.getppid() != server:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    return done


class _Answers:
    def __init__(self, engine: Engine, wire: Wire) -> None:
        self._engine, self._wire = engine, wire
        self._cancelled: dict[int, threading.Event] = {}
        self._pacer = Pacer()
        self._threads = ThreadPoolExecutor(engine.parallel + LEAVING, thread_name_prefix="answer")

    def run(self, messages: Any) -> None:
        """Do what the messages ask until there are no more."""
        for message in messages:
            number = message["id"]
            if "cancel" in message:
                if (cancelled := self._cancelled.get(number)) is not None:
                    cancelled.set()
            elif "generate" in message:
                self._cancelled[number] = threading.Event()
                self._threads.submit(self._do, number, self._generate, message)
            elif "check" in message:
                self._threads.submit(self._do, number, self._check, message)
            else:
                self._threads.submit(self._do, number, self._embed, message)
        for cancelled in list(self._cancelled.values()):
            cancelled.set()
        self._threads.shutdown(wait=True)
        self._engine.close()

    def _do(self, number: int, work: Callable[[Message], Message], message: Message) -> None:
        try:
            end = work(message)
        except Exception as error:
            if _kind(error) == "failure":
                log.exception("an answer failed in the engine")
            end = {"error": str(error), "kind": _kind(error)}
            program = getattr(self._engine, "program", None)
            if end["kind"] == "ended" and program is not None and program.ended():
                return  # this process is about to end too, and the server sees that
        self._cancelled.pop(number, None)
        try:
            self._wire.send({"id": number, **end})
        except OSError:
            return  # the server is gone, which the reading thread has seen too

    def _generate(self, message: Message) -> Message:
        cancelled = self._cancelled[message["id"]]

        def send(chunk: TextChunk) -> None:
            self._wire.send({"id": message["id"], "chunk": chunk_to_json(chunk)})

        with self._pacer.answer(send) as paced:
            for chunk in self._engine.generate(request_from_json(message["generate"]), cancelled):
                paced.put(chunk)
        return {"done": True}

    def _check(self, message: Message) -> Message:
        self._engine.check(request_from_json(message["check"]))
        return {"done": True}

    def _embed(self, message: Message) -> Message:
        vector = self._engine.embed(message["embed"])  # type: ignore[attr-defined]
        return {"value": [float(value) for value in vector]}


def _kind(error: Exception) -> str:
    kinds = {ValueError: "value", EngineEnded: "ended"}
    return next((name for kind, name in kinds.items() if isinstance(error, kind)), "failure")


def _end_with(program: Any) -> None:
    """End when the program that computes does: the server starts both again, and asks again what it may."""
    program.watch()
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(0)  # threads of libraries may not end by themselves
