"""A session's echo canceller: on where its client plays aloud beside an open microphone and cancels no echo itself."""

from __future__ import annotations

from typing import Any

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Resampler, Samples
from ayllu.device.hear.echo import EchoCanceller, Playback
from ayllu.device.realtime.reply import Send
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError


class Echo:
    """What is sent to be played, and the microphone without it. Off, everything passes as it is."""

    def __init__(self, send: Send, *, on: bool = False) -> None:
        """Raises UserError where it is to be on and the library is missing."""
        self._send = send
        self._playback = Playback()
        self._canceller = EchoCanceller(self._playback) if on else None
        self._resampler = Resampler(RATE, RATE)
        self._item, self._rate = "", RATE

    async def switch(self, on: Any) -> None:
        """The client says whether its echo is to be cancelled. Raises ApiError."""
        if not isinstance(on, bool):
            raise ApiError(400, "on must be true or false", param="on", code="invalid_value")
        if on and self._canceller is None:
            self._playback = Playback()
            try:
                self._canceller = EchoCanceller(self._playback)
            except UserError as error:
                raise ApiError(400, str(error), code="echo_canceller_missing") from None
        elif not on:
            self._canceller = None
        await self._send("x.echo_cancellation", on=on)

    def said(self, item: str, sound: Samples, rate: int) -> None:
        """Sound of an item is sent to the client."""
        if self._canceller is None:
            return
        if (item, rate) != (self._item, self._rate):
            self._item, self._rate, self._resampler = item, rate, Resampler(rate, RATE)
        self._playback.said(item, self._resampler.push(sound))

    def stopped(self, item: str, milliseconds: float) -> None:
        """The client plays an item no more, of which it has played so much."""
        self._playback.stopped(item, milliseconds)

    def playing(self, item: str, milliseconds: float) -> None:
        """So much of an item had been played when the next sample of the microphone was taken."""
        self._playback.playing(item, milliseconds)

    def cleaned(self, sound: Samples) -> Samples:
        """The next of the microphone at 16 kHz."""
        return sound if self._canceller is None else self._canceller.push(sound)
