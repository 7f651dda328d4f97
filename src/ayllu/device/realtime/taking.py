"""Which turns a session takes: by leave of those around, in the wearer's voice, and with the phrase that wakes."""

from __future__ import annotations

from collections.abc import Callable

from ayllu.device.hear.listener import Heard
from ayllu.device.hear.wake import Wake
from ayllu.device.privacy.consent import Consent, Mode
from ayllu.device.realtime.reply import Send


class Taking:
    """The gates of one session. `ask` puts the question for leave, aloud."""

    def __init__(self, send: Send, ask: Callable[[], None], *, consent: Mode, wake: str | None) -> None:
        self._send, self._ask = send, ask
        self.consent, self.wake = Consent(consent), Wake(wake)
        self._awake = self.wake.awake
        """Whether the open turn is meant for the glasses without the phrase."""

    def opened(self) -> None:
        """A turn has begun."""
        self._awake = self.wake.awake

    def partly(self, text: str) -> str | None:
        """What of the open turn may be told while it is said."""
        return self.wake.meant(text, awake=self._awake)

    def finally_said(self, text: str) -> str:
        """What is kept of a turn that was taken, once the second recogniser has heard it."""
        rest = self.wake.rest(text)
        return text if rest is None else rest

    async def taken(self, event: Heard) -> str | None:
        """What was asked of the glasses; None where the turn is not for them, which the client is told."""
        if not self.consent.open:
            await self._leave(event.text)
            return None
        text = self.wake.meant(event.text, awake=self._awake)
        if self.wake.phrase is None:
            return text
        await self._send("x.wake", phrase=self.wake.phrase, awake=text is not None)
        if text == "" and event.text:  # the phrase alone: what is said next is meant
            self.wake.stay()
        return text or None

    async def _leave(self, text: str) -> None:
        """Nothing is taken before somebody has said yes: what was said until then is neither kept nor answered."""
        if not self.consent.answer(text):
            self._ask()
        await self._send("x.consent", given=self.consent.given)
