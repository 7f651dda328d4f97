"""Requests whose head never ends: a connection that holds half of one is closed after a time."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 15.0
"""From a connection's, or a next request's, first byte until the head of the request is there."""


class HeaderLimitProtocol(H11Protocol):
    """uvicorn's protocol, which waits for the rest of a head for ever, with a limit."""

    seconds = SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Start the clock where the head of a request is awaited, unless it runs; stop it where none is.

        Between requests uvicorn's own clock runs, until the first byte of the next one.
        """
        awaited = self.conn.their_state is h11.IDLE and (self.cycle is None or bool(self.conn.trailing_data[0]))
        if not awaited or self.transport.is_closing():
            self._rest()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.seconds, self._give_up)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.conn.trailing_data[0]:
            self.send_400_response("The head of the request did not arrive in time.")
        else:
            self.transport.close()
