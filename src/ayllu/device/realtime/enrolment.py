"""The wearer says a few sentences, so that these glasses know the voice: by the event `x.enrol`, turn by turn."""

from __future__ import annotations

from functools import partial

from ayllu.device.audio.pcm import Samples
from ayllu.device.hear.listener import Heard
from ayllu.device.hear.wearer import ENOUGH, SENTENCES, seconds
from ayllu.device.parts import Parts
from ayllu.device.privacy.wearer import Wearer
from ayllu.device.realtime.captures import Captures
from ayllu.device.realtime.reply import Send
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError


class Enrolment:
    """Of one session. `wearer` is None where the glasses answer every voice."""

    def __init__(self, parts: Parts, send: Send, captures: Captures, wearer: Wearer | None) -> None:
        self._parts, self._send, self._captures, self._wearer = parts, send, captures, wearer
        self._said: list[Samples] | None = None

    @property
    def open(self) -> bool:
        """Whether what is said is taken for an enrolment."""
        return self._said is not None

    async def switch(self, on: object) -> None:
        """Begin, or give up. ApiError where voices are not told apart."""
        if not isinstance(on, bool):
            raise ApiError(400, "on must be true or false", param="on", code="invalid_value")
        if self._wearer is None:
            raise ApiError(400, "these glasses answer every voice: start them with --wearer", code="no_wearer")
        self._said = [] if on else None
        await self._tell(done=False)

    async def push(self, event: Heard) -> None:
        """One more sentence; the voice is kept once there are enough."""
        assert self._said is not None and self._wearer is not None
        self._said.append(event.audio[: max(0, event.end - event.start)])
        said = self._said
        enough = len(said) >= SENTENCES and seconds(said) >= ENOUGH
        if not enough:
            await self._tell(done=False)
            return
        why, kept = "the wearer enrols", "192 numbers that tell the voice, until they are erased"
        went = [self._wearer.model]
        await self._captures.note("microphone", why, went, kept, seconds=round(seconds(said), 2))
        try:
            await self._parts.telling.within(2 * seconds(said), partial(self._wearer.enrol, said))
        except UserError as error:
            self._said = []
            raise ApiError(400, str(error), code="not_enrolled") from None
        await self._tell(done=True)
        self._said = None

    async def _tell(self, *, done: bool) -> None:
        said = self._said or []
        needed = {"seconds_needed": ENOUGH, "sentences_needed": SENTENCES}
        await self._send("x.enrol", sentences=len(said), seconds=round(seconds(said), 1), **needed, done=done)
