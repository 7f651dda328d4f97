"""Clients that hold a connection and do nothing with it: half a head of a request, or an answer that nobody reads."""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 15.0
"""From a connection's, or a next request's, first byte until the head of the request is there."""
UNREAD_SECONDS = 60.0
"""Until a connection is given up whose client takes nothing of what is ready for it."""
UNREAD_BYTES = 16384
"""Bytes that are ready for a client, here and again in the kernel, beyond what it can be sent: more is written when it
reads. Without a bound the kernel takes whole answers, megabytes, and nobody knows who reads."""


class HeaderLimitProtocol(H11Protocol):
    """uvicorn's protocol, which waits for ever for the rest of a head and for those who do not read, with limits."""

    seconds = SECONDS
    unread_seconds = UNREAD_SECONDS
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.transport.set_write_buffer_limits(high=UNREAD_BYTES)
        connection = transport.get_extra_info("socket")
        if connection.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNREAD_BYTES)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self._read()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        # To close it would wait until all is sent.
        self._unread = self._unread or self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read()

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

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
