"""`ayllu serve`: take the port, load the model, answer until told to stop, and let what is under way finish."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import webbrowser
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ayllu.data.archive import default_cache
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.loading import loading
from ayllu.lab.progress import say
from ayllu.lab.store import default_home
from ayllu.serve.access.keys import KeyStore
from ayllu.serve.limits import Limits
from ayllu.serve.network.listen import checked_base_path, checked_host, checked_proxy, is_loopback, listen, url
from ayllu.serve.network.notify import notify
from ayllu.serve.state.choose import open_store

if TYPE_CHECKING:
    from ayllu.safety.filter.guard import Guard
    from ayllu.serve.audio.speech import Speech
    from ayllu.serve.embeddings.embedder import Embedder
    from ayllu.serve.operations.request_log import LogFormat
    from ayllu.serve.responses.hosted.tools import HostedFactory
    from ayllu.serve.served import LoadableModel, Models


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How models are served."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    open_browser: bool = False
    hosts: Sequence[str] = ()
    """Names other than `host`, IP addresses and localhost under which the server is reached."""
    drain_seconds: float = 20
    """So long may answers under way go on after the signal; a second SIGINT ends at once."""
    home: Path | None = None
    """Has the keys, which are asked for where there are any, and always where other machines reach the server."""
    limits: Limits = field(default_factory=Limits)
    embedding_model: str | None = None
    """Names an encoder, fetched where the cache does not have it."""
    hosted: HostedFactory | None = None
    """Makes what runs the tools that responses ask the server to run."""
    browser: bool = False
    """Whether visitors may load the first model into their own browsers."""
    state: str | None = None
    """Where responses and conversations are kept; `open_store` explains it, and `keep_days`."""
    keep_days: float = 30
    memory: int | None = None
    """Bytes that all models together may take; None for no limit."""
    base_path: str = ""
    """The path that a proxy puts the server at."""
    proxies: Sequence[str] = ()
    """Addresses whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    certificate: Path | None = None
    """PEM, with its chain; its key is in `certificate_key`."""
    certificate_key: Path | None = None
    https: bool = False
    """Whether to make a certificate where none is given."""
    log: LogFormat = "off"
    log_prompts: bool = False
    safety: Path | None = None
    """The policy of a filter of requests and answers."""
    speech: Callable[[], Speech] | None = None
    """Loads what hears and speaks for `/v1/audio`."""
    traces: str | None = None
    """A collector that speaks OTLP over HTTP."""


def serve_model(
    model_folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_browser: bool = False,
    name: str | None = None,
    aliases: Sequence[str] = (),
    hosts: Sequence[str] = (),
    drain_seconds: float = 20,
    engine: str = "auto",
    bits: int | None = None,
    embedding_model: str | None = None,
    browser: bool = False,
    home: Path | None = None,
    state: str | None = None,
    keep_days: float = 30,
) -> None:
    """Serve a release or weights until SIGINT or SIGTERM.

    `name` is the model's name in the API and `aliases` are others that it is asked for by; `engine` and `bits` are
    explained at `open_engine`, the rest at `Serving`.
    """

    def sources() -> list[LoadableModel]:
        from ayllu.serve.source import FolderSource

        return [FolderSource(model_folder, name=name, aliases=aliases, engine=engine, bits=bits, first=True)]

    how = Serving(
        host=host,
        port=port,
        open_browser=open_browser,
        hosts=hosts,
        drain_seconds=drain_seconds,
        home=home,
        embedding_model=embedding_model,
        browser=browser,
        state=state,
        keep_days=keep_days,
    )
    serve_models(sources, how)


def serve_models(sources: Callable[[], Sequence[LoadableModel]], how: Serving) -> None:
    """Serve models until SIGINT or SIGTERM; the first is loaded at once, the others when they are asked for.

    `sources` are looked at when the port has been taken. Raises UserError when it cannot be had, no key is there where
    one is needed, or a model cannot be served.
    """
    names = (how.host, *map(checked_host, how.hosts))
    base_path, proxies = checked_base_path(how.base_path), [checked_proxy(name) for name in how.proxies]
    home = how.home or default_home()
    guard = _guard(how.safety)
    listener, store = listen(how.host, how.port), None
    leaving, starting = Leaving(), contextlib.ExitStack()
    given: Sequence[LoadableModel] = ()
    try:
        starting.enter_context(loading())
        if not is_loopback(listener):
            need_key(home, how.host)
        certificate = _certificate(how, home)
        store = open_store(how.state, home=home, keep_days=how.keep_days)
        given = sources()
        for first_source in given[:1]:
            first_source.begin()
        # These take a while to import: nobody should wait for them to hear that the port is in use, and a model loads
        # meanwhile.
        with leaving.held():
            from ayllu.serve.access.access import Access
            from ayllu.serve.gateway import create_app
            from ayllu.serve.operations.operations import Operations
            from ayllu.serve.operations.request_log import RequestLog
            from ayllu.serve.operations.tracing import open_tracing
            from ayllu.serve.served import Models
            from ayllu.serve.stoppable import StoppableServer, server_config

        tracing = open_tracing(how.traces)
        encoders: list[Embedder] = []
        if how.embedding_model is not None:
            from ayllu.serve.embeddings.encoder import fetch_encoder  # which needs torch, as little else here does

            encoders = [fetch_encoder(how.embedding_model, default_cache())]
        models = Models(*given, memory=how.memory, guard=guard)
        first = models.load_first()
        access = Access(home, required=not is_loopback(listener))
        log = RequestLog(how.log, prompts=how.log_prompts)
        operations = Operations(models, log=log, tracing=tracing)
        app = create_app(
            models,
            limits=how.limits,
            hosts=names,
            access=access,
            operations=operations,
            base_path=base_path,
            encoders=encoders,
            home=how.home,
            store=store,
            browser=how.browser,
            speech=how.speech() if how.speech else None,
            hosted=how.hosted,
        )
        config = server_config(app, drain_seconds=how.drain_seconds, proxies=proxies, certificate=certificate)
        log.install()
        if limits := getattr(first.queue.engine, "limits", ""):
            say(limits)
        address = url(
            how.host, listener.getsockname()[1], scheme="https" if certificate else "http", base_path=base_path
        )

        def every_second() -> None:
            access.look()
            models.look()

        try:
            server = StoppableServer(
                config,
                ready=lambda: _announce(address, models, how.open_browser),
                revoked=models.revoked,
                every_second=every_second,
                ending=models.end,
            )
            starting.close()
            server.run(sockets=[listener])
            if server.told:
                raise UserError(f"{first.about.name} is served no more, for {server.told}")
        finally:
            access.close()
            models.close()
            operations.close()
    finally:
        starting.close()
        for source in given:
            source.give_up()
        if store is not None:
            store.close()
        listener.close()
        leaving.close()


class Leaving:
    """SIGTERM ends the command in a sentence while nothing is served yet, until `close`.

    Left to the system it would do nothing to the first process of a container, which then is killed after a while.
    """

    def __init__(self) -> None:
        self._held = self._told = False
        main = threading.current_thread() is threading.main_thread()
        self._before = signal.signal(signal.SIGTERM, self._leave) if main else None

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Leave only behind the block: an import may take what is raised within it for a failure of its own."""
        self._held = True
        yield
        self._held = False
        if self._told:
            self._leave(signal.SIGTERM, None)

    def close(self) -> None:
        """Let the signal do what it did before."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _leave(self, _: int, __: FrameType | None) -> None:
        self._told = True
        if not self._held:
            raise Stopped("told to stop; nothing is served")


def need_key(home: Path, host: str) -> None:
    """Raise UserError where other machines reach the server and nobody has a key."""
    if not KeyStore(home).valid(time.time()):
        raise UserError(
            f"{host} is not loopback, so a key is needed, and {home} has none; make one with `ayllu keys add NAME`"
        )


def _guard(policy: Path | None) -> Guard | None:
    if policy is None:
        return None
    from ayllu.safety.filter.guard import open_guard  # which reads with numpy

    return open_guard(policy)


def _certificate(how: Serving, home: Path) -> tuple[Path, Path] | None:
    if how.certificate is None and how.certificate_key is None and not how.https:
        return None
    from ayllu.serve.network.certificate import check_pair, fingerprint, self_made

    if how.certificate is not None and how.certificate_key is not None:
        check_pair(how.certificate, how.certificate_key)
        return how.certificate, how.certificate_key
    if how.certificate is not None or how.certificate_key is not None:
        raise UserError("a certificate and its private key belong together; give --certificate and --certificate-key")
    made = self_made(home, (how.host, *how.hosts))
    say(f"the certificate is self-made: {made[0]}; its SHA-256 is {fingerprint(made[0])}")
    return made


def _announce(address: str, models: Models, open_browser: bool) -> None:
    served = " and ".join(about.name for about in models.abouts)
    verb = "is" if len(models.abouts) == 1 else "are"
    notify("READY=1")
    say(f"{served} {verb} served: chat on {address} · OpenAI-compatible API on {address}/v1 · Ctrl-C stops")
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
