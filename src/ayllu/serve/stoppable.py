"""uvicorn as every server of ours runs it, and stops."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from ayllu.lab.progress import say
from ayllu.serve.header_limit import HeaderLimitProtocol
from ayllu.serve.limits import Limits
from ayllu.serve.network.notify import notify

if TYPE_CHECKING:
    from starlette.types import ASGIApp

REVOCATION_TICKS = 50
"""Tenths of a second between two looks at the lists of what was revoked."""
SECOND_TICKS = 10


def server_config(
    app: ASGIApp,
    *,
    drain_seconds: float | None = None,
    proxies: Sequence[str] = (),
    certificate: tuple[Path, Path] | None = None,
) -> uvicorn.Config:
    """How uvicorn serves `app`; `certificate` is one and its private key."""
    return uvicorn.Config(
        app,
        http=HeaderLimitProtocol,
        ws="websockets-sansio",
        ws_max_size=Limits.body_bytes,
        log_level="warning",
        access_log=False,
        server_header=False,
        # What a client says of whom it speaks for is believed from named proxies only; uvicorn's default is loopback.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
        # uvicorn says whole seconds and takes any.
        timeout_graceful_shutdown=drain_seconds,  # type: ignore[arg-type]
    )


class StoppableServer(uvicorn.Server):
    """uvicorn's server, but a signal ends it with a return, so that our clean-up runs and the exit code is 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        ready: Callable[[], None],
        revoked: Callable[[], str | None] = lambda: None,
        every_second: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._ready, self._revoked, self._every_second = ready, revoked, every_second
        self._ending = ending
        self.told: str | None = None
        """Why the model may not be served any more, where that is why the server has ended."""

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether the server should end."""
        if counter % REVOCATION_TICKS == 0:
            self.told = self.told or self._revoked()
        if counter % SECOND_TICKS == 0:
            self._every_second()
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
            self._ending()
            notify("STOPPING=1")
            waiting = len(self.server_state.tasks)
            say(f"stopping: {waiting} under way may finish · Ctrl-C again ends at once" if waiting else "stopping")
        self.handle_exit(kind, frame)
