"""The server's side: an `Engine` whose work is done in another process, which is started again when it ends."""

from __future__ import annotations

import itertools
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.serve.engines.accepts import Accepts
from ayllu.serve.engines.engine import EngineEnded, GenerationRequest, TextChunk
from ayllu.serve.engines.process.wire import Message, Wire, chunk_from_json, request_to_json
from ayllu.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROGRAM = ("-P", "-m", f"{__package__}.child")
"""What Python runs; nothing is imported from the folder that the server was started in."""
LOOK = 0.05
"""Seconds between two looks at whether a caller has left, while no token comes."""
PAUSES = (0.0, 0.5, 2.0, 5.0)
"""Seconds before each new start; when as many in a row have ended within `SHORT`, there is no other."""
SHORT = 60.0
AMID = "the engine's process ended while it answered; ask again"
CLOSING = 15.0
"""Seconds that the process has to end by itself."""


class _Arrived(Protocol):
    """Where messages go; None says that the process has ended."""

    def put(self, message: Message | None, /) -> None: ...


class _Child:
    """One process, and the questions that it has not answered."""

    def __init__(self, opening: Message) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, *PROGRAM, str(theirs.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._wire = Wire(ours)
        self.messages = self._wire.messages()
        self._open: dict[int, _Arrived] = {}
        self._guard = threading.Lock()
        self._ended = False
        self.ready: Message = {}
        self._send(opening)

    def wait(self) -> _Child:
        """Itself, once the engine is open; UserError where it cannot be opened, or ends while it is."""
        try:
            first = next(self.messages, None)
        except BaseException:
            self.stop()
            raise
        if first is None or "refused" in first:
            self.close()
            raise UserError((first or {}).get("refused") or f"the engine's process ended at its start ({self.why})")
        self.ready = first["ready"]
        return self

    @property
    def why(self) -> str:
        """How the process ended, in words."""
        code = self.process.wait()
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def ask(self, number: int, message: Message) -> queue.SimpleQueue[Message | None]:
        """Where the messages about a question come; None when the process has ended."""
        arrived: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.follow(number, message, arrived)
        return arrived

    def follow(self, number: int, message: Message, arrived: _Arrived) -> None:
        """Ask a question whose messages go to `arrived`, from the thread that reads them."""
        with self._guard:
            if self._ended:
                arrived.put(None)
                return
            self._open[number] = arrived
        self._send({"id": number, **message})

    def cancel(self, number: int) -> None:
        """Nobody wants the rest of an answer."""
        self._send({"id": number, "cancel": True})

    def run(self) -> None:
        """Hand out what the process says, until it has ended."""
        for message in self.messages:
            end = "chunk" not in message
            with self._guard:
                arrived = self._open.pop(message["id"], None) if end else self._open.get(message["id"])
            if arrived is not None:
                arrived.put(message)
        with self._guard:
            self._ended = True
            left, self._open = list(self._open.values()), {}
        for arrived in left:
            arrived.put(None)

    def stop(self) -> None:
        """End the process though it may still be loading: nobody waits until it has."""
        self.process.terminate()
        self.close()

    def close(self) -> None:
        """End the process."""
        self._wire.close()
        try:
            self.process.wait(CLOSING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _send(self, message: Message) -> None:
        try:
            self._wire.send(message)
        except OSError:
            return  # it has ended, and whoever reads sees that


class SupervisedEngine:
    """The engine of `open_engine`, in a process of its own.

    When the process ends, an answer of which something was given out ends with `EngineEnded`; one of which nothing was
    is asked again of the next process, and so is whatever comes meanwhile.
    """

    def __init__(self, opening: Message, child: _Child, tokenizer: Tokenizer) -> None:
        self._opening, self.tokenizer = opening, tokenizer
        self._child: _Child | None = child
        self.context: int = child.ready["context"]
        self.parameters: int = child.ready["parameters"]
        self.parallel: int = child.ready["parallel"]
        self.limits: str = child.ready["limits"]
        self.kind: str = child.ready["kind"]
        """Name of the engine's class."""
        told = child.ready["accepts"]
        self.accepts = Accepts(**told) if told is not None else None
        self.restarts = 0
        """How many times the process was started again."""
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._closing = False
        self._given_up = ""
        self._ends: deque[float] = deque(maxlen=len(PAUSES))
        self._watcher = threading.Thread(target=self._watch, args=(child,), name="engine's watcher", daemon=True)
        self._watcher.start()

    @property
    def alive(self) -> bool:
        """Whether the process is there and ready."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """The process that computes now."""
        child = self._child
        return None if child is None else child.process.pid

    def check(self, request: GenerationRequest) -> None:
        """As the engine's, without asking it where it has said what it takes.

        Another engine is asked, who may be busy; nothing is said while the process starts again.
        """
        if self.accepts is not None:
            self.accepts.check(request)
            return
        child = self._child
        if child is not None:
            end = child.ask(next(self._numbers), {"check": request_to_json(request)}).get()
            if end is not None:
                _raise_error(end)

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        given = False
        while (child := self._living(cancelled)) is not None:
            for chunk in self._of(child, request, cancelled):
                if chunk is None:
                    if given:
                        raise EngineEnded(AMID)
                    break
                given = given or bool(chunk.text or chunk.tokens or chunk.read)
                yield chunk
            else:
                return

    def deliver(self, request: GenerationRequest, cancelled: threading.Event, put: Callable[[TextChunk], None]) -> None:
        """As `generate`, but the chunks go to `put`, from the thread that reads what the process says.

        No thread is woken for each of them, which is much where many are answered: this one sleeps until the end.
        """
        while (child := self._living(cancelled)) is not None:
            following = _Following(child, next(self._numbers), cancelled, put)
            child.follow(following.number, {"generate": request_to_json(request)}, following)
            end = following.wait()
            if following.failure is not None:
                raise following.failure
            if end is not None or cancelled.is_set():
                _raise_error(end or {})
                return
            if following.given:
                raise EngineEnded(AMID)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            child = self._child
            self._changed.notify_all()
        if child is not None:
            child.close()
        self._watcher.join(CLOSING)

    def _of(self, child: _Child, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk | None]:
        """The chunks of an answer, and None where the process ended before it did."""
        number = next(self._numbers)
        arrived = child.ask(number, {"generate": request_to_json(request)})
        told, over = False, False
        try:
            while True:
                try:
                    message = arrived.get(timeout=LOOK)
                except queue.Empty:
                    message = {}
                over = message is None or "done" in message or "error" in message
                if cancelled.is_set() and not over and not told:
                    told = True
                    child.cancel(number)
                if message is None and not cancelled.is_set():
                    yield None
                if over:
                    _raise_error(message or {})
                    return
                if message and not told:
                    yield chunk_from_json(message["chunk"])
        finally:
            if not over:
                child.cancel(number)

    def _living(self, cancelled: threading.Event) -> _Child | None:
        """The process, once there is one; None for a caller who has left. EngineEnded when there will be none."""
        with self._changed:
            while not cancelled.is_set():
                if self._given_up or self._closing:
                    raise EngineEnded(self._given_up or "the engine is closed")
                if self._child is not None:
                    return self._child
                self._changed.wait(LOOK)
        return None

    def _watch(self, child: _Child | None) -> None:
        """Hand out what processes say, one after the other, each started when the one before has ended."""
        while child is not None:
            child.run()
            with self._changed:
                self._child = None
                if self._closing:
                    return
            child.close()
            say(f"the engine's process ended ({child.why}); it is started again")
            child = self._started_again(child)
            with self._changed:
                self._child = child
                self._changed.notify_all()
                if self._closing and child is not None:
                    child.close()

    def _started_again(self, ended: _Child) -> _Child | None:
        """A new process; None when it ends again and again."""
        self._ends.append(time.monotonic())
        while True:
            recent = [at for at in self._ends if time.monotonic() - at < SHORT]
            if len(recent) == len(PAUSES):
                self._given_up = f"the engine's process ended {len(recent)} times within a minute; see the server's log"
                say(self._given_up)
                return None
            time.sleep(PAUSES[len(recent) - 1])
            if self._closing:
                return None
            try:
                child = _Child(self._opening).wait()
            except (UserError, OSError) as error:
                say(f"the engine does not start: {error}")
                self._ends.append(time.monotonic())
                continue
            self.restarts += 1
            return child


class EmbeddingSupervisedEngine(SupervisedEngine):
    """One whose engine gives hidden states too."""

    def embed(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The mean (D,) of the hidden states of `ids`, as the engine has it."""
        child = self._living(threading.Event())
        assert child is not None
        end = child.ask(next(self._numbers), {"embed": list(ids)}).get()
        if end is None:
            raise EngineEnded("the engine's process ended; ask again")
        _raise_error(end)
        import numpy as np  # as little else here

        return np.array(end["value"], dtype=np.float32)


class _Following:
    """An answer whose chunks go straight to whoever wants them."""

    def __init__(
        self, child: _Child, number: int, cancelled: threading.Event, put: Callable[[TextChunk], None]
    ) -> None:
        self.number = number
        self.given = False
        """Whether anything of the answer, or of what is told of its prompt, was put."""
        self.failure: Exception | None = None
        """Of whoever was to take it."""
        self._child, self._cancelled, self._put = child, cancelled, put
        self._told = False
        self._end: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def put(self, message: Message | None) -> None:
        """From the thread that reads."""
        if message is None or "chunk" not in message:
            self._end.put(message)
        elif self._cancelled.is_set():
            self._leave()
        else:
            self._hand_on(chunk_from_json(message["chunk"]))

    def _hand_on(self, chunk: TextChunk) -> None:
        self.given = self.given or bool(chunk.text or chunk.tokens or chunk.read)
        if self.failure is not None:
            return
        try:
            self._put(chunk)
        except RuntimeError:  # the loop is closed: nobody listens, and the others' messages are to be read
            self._leave()
        except Exception as error:  # they are to be read then too, or everybody would wait for ever
            self.failure = error
            self._leave()

    def wait(self) -> Message | None:
        """How the answer ended; None where its process did."""
        while True:
            try:
                return self._end.get(timeout=LOOK)
            except queue.Empty:
                if self._cancelled.is_set():
                    self._leave()

    def _leave(self) -> None:
        if not self._told:
            self._told = True
            self._child.cancel(self.number)


class StartingEngine:
    """The engine of `open_engine` in a process of its own, which loads it while others do something else."""

    def __init__(
        self,
        folder: Path,
        engine: str = "auto",
        *,
        bits: int | None = None,
        cache_bits: int | None = None,
        adapters: Mapping[str, Path] | None = None,
    ) -> None:
        self._folder = folder
        self._opening: Message = {"folder": str(folder.absolute()), "engine": engine}
        self._opening |= {"bits": bits, "cache_bits": cache_bits}
        self._opening["adapters"] = {name: str(place.absolute()) for name, place in (adapters or {}).items()}
        self._child = _Child(self._opening)

    def wait(self) -> SupervisedEngine:
        """The engine, made where it must be (`convert`); UserError as `open_engine`."""
        tokenizer: Tokenizer | None = None
        try:
            tokenizer = Tokenizer.load(self._folder)
        except (ValueError, OSError) as found:
            problem = found  # the process has the same, and may know better what to say of it
        except BaseException:
            self._child.stop()
            raise
        child = self._child.wait()
        if tokenizer is None:
            child.close()
            raise UserError(f"{self._folder} cannot be served: {problem}") from problem
        kind = EmbeddingSupervisedEngine if child.ready["embeds"] else SupervisedEngine
        return kind(self._opening, child, tokenizer)

    def stop(self) -> None:
        """End the process, loaded or not."""
        self._child.stop()


def start_engine(
    folder: Path, engine: str = "auto", *, bits: int | None = None, adapters: Mapping[str, Path] | None = None
) -> SupervisedEngine:
    """The engine of `open_engine`, made where it must be (`convert`), in a process of its own; UserError as there."""
    return StartingEngine(folder, engine, bits=bits, adapters=adapters).wait()


def _raise_error(message: dict[str, Any]) -> None:
    if "error" in message:
        raise {"value": ValueError, "ended": EngineEnded}.get(message["kind"], RuntimeError)(message["error"])
