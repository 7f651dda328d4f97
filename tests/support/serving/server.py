"""What several tests of this room need: a real server on a free port, and an engine that can be watched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from ayllu.serve.about import describe
from ayllu.serve.access.access import Access
from ayllu.serve.embeddings.embedder import Embedder
from ayllu.serve.engines.engine import Engine, GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.gateway import create_app
from ayllu.serve.limits import Limits
from ayllu.serve.network.listen import listen, url
from ayllu.serve.operations.operations import Operations
from ayllu.serve.operations.request_log import RequestLog
from ayllu.serve.operations.tracing import Tracing
from ayllu.serve.queue import EngineQueue
from ayllu.serve.responses.hosted.tools import HostedFactory
from ayllu.serve.served import Models, Served
from ayllu.serve.state.store import Store
from ayllu.serve.stoppable import StoppableServer, server_config


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
    folder: Path, engine: Engine, *, longest: int = 64, aliases: Sequence[str] = (), **options: Any
) -> Iterator[str]:
    """A real server of one model on a free port; gives its address. `options` are those of `serving_models`."""
    queue = EngineQueue(engine, longest=longest)
    about = describe(folder, context=engine.context, parameters=engine.parameters, aliases=aliases)
    with serving_models(Models(Served(queue, about)), **options) as address:
        yield address


@contextmanager
def serving_models(
    models: Models,
    *,
    limits: Limits | None = None,
    hosts: Sequence[str] = (),
    encoders: Sequence[Embedder] = (),
    home: Path | None = None,
    browser: bool = False,
    hosted: HostedFactory | None = None,
    store: Store | None = None,
    access: Access | None = None,
    every_second: Callable[[], None] = lambda: None,
    log: RequestLog | None = None,
    tracing: Tracing | None = None,
    base_path: str = "",
    proxies: Sequence[str] = (),
    certificate: tuple[Path, Path] | None = None,
    host: str = "127.0.0.1",
) -> Iterator[str]:
    """A real server of several models, of which the first is loaded."""
    models.load_first()
    log = log or RequestLog()
    operations = Operations(models, log=log, tracing=tracing)
    app = create_app(
        models,
        limits=limits,
        hosts=hosts,
        access=access,
        operations=operations,
        base_path=base_path,
        encoders=encoders,
        home=home,
        store=store,
        browser=browser,
        hosted=hosted,
    )
    config = server_config(app, proxies=proxies, certificate=certificate)
    log.install()
    server = StoppableServer(config, ready=lambda: None, every_second=every_second)
    with listen(host, 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield url(host, listener.getsockname()[1], scheme="https" if certificate else "http")
        finally:
            server.should_exit = True
            thread.join(timeout=10)
