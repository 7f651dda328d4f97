"""`ayllu serve`: take the port, load the model, answer until told to stop, and let what is under way finish."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.release.trust.revocation import refuse_revoked, why_revoked
from ayllu.serve.header_limit import HeaderLimitProtocol

REVOCATION_TICKS = 50
"""Tenths of a second between two looks at the lists of what was revoked."""

if TYPE_CHECKING:
    from fastapi import FastAPI


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
) -> None:
    """Serve a release or weights on http://`host`:`port` until SIGINT or SIGTERM; port 0 takes a free one.

    `name` is the model's name in the API and `aliases` are others that it is asked for by. `hosts` are names other than
    `host`, IP addresses and localhost under which the server is reached; `engine` and `bits` are explained at
    `open_engine`. After the signal, answers under way have `drain_seconds` to finish; a second SIGINT ends at once.
    Raises UserError when the port cannot be had (before the model is loaded) or the folder cannot be served.
    """
    refuse_revoked(model_folder)
    names = (host, *map(checked_host, hosts))
    listener = listen(host, port)
    try:
        # torch takes seconds to import, and nobody should wait for it to hear that the port is in use.
        from ayllu.serve.about import describe
        from ayllu.serve.engines.choose import open_engine
        from ayllu.serve.gateway import create_app
        from ayllu.serve.queue import EngineQueue

        opened = open_engine(model_folder, engine, convert=True, bits=bits)
        about = describe(model_folder, context=opened.context, parameters=opened.parameters, name=name, aliases=aliases)
        queue = EngineQueue(opened)
        app = create_app(queue, about, hosts=names)
        url = _url(host, listener.getsockname()[1])
        config = server_config(app, drain_seconds=drain_seconds)
        if limits := getattr(opened, "limits", ""):
            say(limits)
        if not _is_loopback(listener):
            say(f"warning: {host} is not loopback, and there are no keys: whoever reaches {url} can use the model")
        try:
            server = _Server(
                config,
                ready=lambda: _announce(url, about.name, open_browser),
                revoked=lambda: why_revoked(model_folder),
            )
            server.run(sockets=[listener])
            if server.told:
                raise UserError(f"{about.name} is served no more, for {server.told}")
        finally:
            queue.close()
    finally:
        listener.close()


def server_config(app: FastAPI, *, drain_seconds: float | None = None) -> uvicorn.Config:
    """How uvicorn serves `app`."""
    return uvicorn.Config(
        app,
        http=HeaderLimitProtocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        # uvicorn says whole seconds and takes any.
        timeout_graceful_shutdown=drain_seconds,  # type: ignore[arg-type]
    )


def checked_host(name: str) -> str:
    """A name of this server as clients send it; UserError for what is none, such as an address with a path."""
    name = name.strip().rstrip(".")
    if not name or any(sign in name for sign in "/:@*?# "):
        raise UserError(f"--allow-host {name!r} is not a name; give one alone, such as host.docker.internal")
    try:
        return name.encode("idna").decode("ascii")  # as clients send names with letters beyond ASCII
    except UnicodeError:
        return name


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; UserError in one sentence when it cannot be had."""
    if not 0 <= port <= 65_535:
        raise UserError(f"there is no port {port}; give one from 1 to 65535, or 0 for any free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"the host {host!r} is unknown; give an address of this machine, such as 127.0.0.1") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UserError(_cannot_listen(host, port, error)) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what uses it, or give another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that you do not have; give one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; give 127.0.0.1, or 0.0.0.0 for all of its addresses"
    return f"port {port} on {host} cannot be used ({error.strerror}); give another with --port"


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _announce(url: str, model: str, open_browser: bool) -> None:
    say(f"{model} is served: chat on {url} · OpenAI-compatible API on {url}/v1 · Ctrl-C stops")
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


class _Server(uvicorn.Server):
    """uvicorn's server, but a signal ends it with a return, so that our clean-up runs and the exit code is 0."""

    def __init__(
        self, config: uvicorn.Config, *, ready: Callable[[], None], revoked: Callable[[], str | None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._ready, self._revoked = ready, revoked
        self.told: str | None = None
        """Why the model may not be served any more, where that is why the server has ended."""

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether the server should end."""
        if counter % REVOCATION_TICKS == 0:
            self.told = self.told or self._revoked()
        return await super().on_tick(counter) or self.told is not None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {kind: signal.signal(kind, self._stop) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _stop(self, kind: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            waiting = len(self.server_state.tasks)
            say(f"stopping: {waiting} under way may finish · Ctrl-C again ends at once" if waiting else "stopping")
        self.handle_exit(kind, frame)
