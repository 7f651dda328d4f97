"""Which turns a session takes: by leave of those around, in the wearer's voice, and with the phrase that wakes."""

from __future__ import annotations

from collections.abc import Callable

from ayllu.device.audio.pcm import Samples
from ayllu.device.hear.listener import Heard
from ayllu.device.hear.wake import Wake
from ayllu.device.privacy.consent import Consent, Mode
from ayllu.device.privacy.wearer import Wearer
from ayllu.device.realtime.enrolment import Enrolment
from ayllu.device.realtime.reply import Send


class Taking:
    """The gates of one session. `ask` puts the question for leave, aloud."""

    def __init__(
        self,
        send: Send,
        ask: Callable[[], None],
        enrolment: Enrolment,
        *,
        consent: Mode,
        wake: str | None,
        wearer: Wearer | None,
    ) -> None:
        self._send, self._ask = send, ask
        self.enrolment, self._wearer = enrolment, wearer
        self.consent, self.wake = Consent(consent), Wake(wake)
        self._awake = self.wake.awake
        """Whether the open turn is meant for the glasses without the phrase."""
        self.told = False
        """Whether the client knows that somebody speaks: of others than the wearer it learns nothing."""

    async def begin(self) -> None:
        """Tell whether the wearer's voice is known, where that matters."""
        if self._wearer is not None:
            await self._send("x.wearer", enrolled=self._wearer.voice is not None, known=None, likeness=None)

    def opened(self) -> bool:
        """A turn has begun; whether that may be told before it is known whose voice it is."""
        self._awake = self.wake.awake
        self.told = self._wearer is None or not self.consent.open
        return self.told

    def voiced(self, voice: Samples) -> bool:
        """Whether it may be told now, since the voice of the open turn is the wearer's."""
        if self.told or self._wearer is None or self.enrolment.open:
            return False
        self.told = self._wearer.knows(voice)
        return self.told

    def partly(self, text: str) -> str | None:
        """What of the open turn may be told while it is said."""
        return self.wake.meant(text, awake=self._awake) if self.told else None

    def finally_said(self, text: str) -> str:
        """What is kept of a turn that was taken, once the second recogniser has heard it."""
        rest = self.wake.rest(text)
        return text if rest is None else rest

    async def known(self, event: Heard) -> bool:
        """Whether a turn is the wearer's, or whoever's where every voice is answered; the client is told."""
        if self._wearer is None or not self.consent.open:
            return True
        if not event.text:
            return False
        if self.enrolment.open:
            await self.enrolment.push(event)
            return False
        like = None if event.voice is None else self._wearer.likeness(event.voice)
        known = event.voice is not None and self._wearer.knows(event.voice)
        shown = None if like is None else round(like, 2)
        await self._send("x.wearer", enrolled=self._wearer.voice is not None, known=known, likeness=shown)
        return known

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
