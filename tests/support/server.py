"""What several tests of this room need: a real server on a free port, and an engine that can be watched."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import uvicorn

from ayllu.serve.about import describe
from ayllu.serve.engines.engine import Engine, GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.gateway import Limits, create_app
from ayllu.serve.queue import EngineQueue
from ayllu.serve.server import listen, server_config


class Watched(TorchEngine):
    """The real engine, counting what it computes; only the context ends its answers.

    It pauses for `seconds` after each token, so that a browser sees an answer grow. After `hold_after` tokens of an
    answer it computes no more until nobody wants that answer, so that a test need not be faster than the engine.
    """

    def __init__(
        self,
        engine: TorchEngine,
        *,
        seconds: float = 0.0,
        hold_after: int | None = None,
        parallel: int = 8,
        piece: int = 256,
    ) -> None:
        self.__dict__.update(engine.__dict__)
        self.parallel, self._piece = parallel, piece
        self.tokenizer = copy(engine.tokenizer)
        self.tokenizer.stops = frozenset()
        self.seconds, self.hold_after = seconds, hold_after
        self.computed = 0
        self.running = 0
        self.most = 0

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for count, chunk in enumerate(super().generate(request, cancelled), start=1):
                self.computed += 1
                time.sleep(self.seconds)
                yield chunk
                if count == self.hold_after:
                    cancelled.wait()
        finally:
            self.running -= 1

    def close(self) -> None:
        """The engine it stands for goes on."""


@contextmanager
def serving(
    folder: Path,
    engine: Engine,
    *,
    limits: Limits | None = None,
    longest: int = 64,
    hosts: Sequence[str] = (),
    aliases: Sequence[str] = (),
) -> Iterator[str]:
    """A real server on a free port; gives its address."""
    queue = EngineQueue(engine, longest=longest)
    about = describe(folder, context=engine.context, parameters=engine.parameters, aliases=aliases)
    server = uvicorn.Server(server_config(create_app(queue, about, limits=limits, hosts=hosts)))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)
