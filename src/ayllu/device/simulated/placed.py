"""A device that chooses for each turn where it hears and where it speaks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ayllu.device.audio.pcm import Samples
from ayllu.device.hear.ear import Started
from ayllu.device.hear.listener import Failed, Heard, Listener, Told
from ayllu.device.parts import Parts
from ayllu.device.realtime.items import new_id
from ayllu.device.simulated.device import Device, Turn
from ayllu.device.simulated.link import Remembered
from ayllu.device.simulated.local import OwnVoice, own_ears
from ayllu.device.simulated.placement import Cost, Placement
from ayllu.device.speak.speaker import Spoken

LISTENS = {"type": "semantic_vad"}


@dataclass
class PlacedDevice(Device):
    """A device with models of its own. `parts` are its ears and its voice."""

    parts: Parts | None = None
    placement: Placement = field(default_factory=lambda: Placement(frozenset({"hearing", "speaking"})))

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.parts is not None
        self._ears, self._clock = own_ears(self.parts)
        self._voice = OwnVoice(self.parts.voice, self._own_sound)
        self._listener: Listener | None = None
        self._speaks = False
        self._created = 0.0
        """When the response began."""
        self._busy = (0.0, 0.0)
        """Seconds that the ears and the voice had computed when the turn began."""
        self._said = 0.0
        """When the turn began."""
        self._own: str | None = None
        """The item that the device speaks itself."""
        self._open = False
        """Whether a response is under way."""

    @property
    def answering(self) -> bool:
        return self.playing or self._voice.busy

    async def place(self, turn: Turn) -> None:
        """Choose for a turn, and tell the server."""
        choices = [self.placement.choose(stage, self.body) for stage in ("hearing", "speaking")]
        turn.placed = [choice.body() for choice in choices]
        here = [choice.place == "device" for choice in choices]
        if here[0] and self._listener is None:
            self._listener = Listener(self._ears, self._told)
        elif not here[0] and self._listener is not None:
            self._listener.close()
            self._listener = None
        self._speaks = here[1]
        turns = {"turn_detection": None if here[0] else LISTENS, "transcription": {}}
        modality = "text" if self._speaks else "audio"
        wanted = {"type": "realtime", "output_modalities": [modality], "audio": {"input": turns}}
        if wanted != self.link.settings:
            self.link.settings = wanted
            await self.link.send("session.update", session=wanted)
        self._busy, self._said = (self._clock.seconds, self._voice.seconds), time.monotonic()

    async def _listen(self, sound: Samples) -> None:
        if self._listener is None:
            await super()._listen(sound)
        else:
            self._listener.feed(sound)

    def _told(self, event: Told) -> None:
        self._spawn(self._heard(event))

    async def _heard(self, event: Told) -> None:
        match event:
            case Started():
                await self._interrupted()
                if self._open:
                    await self.link.send("response.cancel")
            case Failed() | Heard(text="") if self.turn is not None:
                self.turn.misheard = True
            case Heard() if self.turn is not None:
                name, turn = new_id("item"), self.turn
                turn.heard = f"{turn.heard} {event.text}".strip()
                self._turns[name] = turn
                self._hearing_cost("device", turn)
                content = [{"type": "input_text", "text": event.text}]
                item = {"id": name, "type": "message", "role": "user", "content": content}
                await self.link.send("conversation.item.create", item=item)
                await self.link.send("response.create")

    def _hearing_cost(self, place: Any, turn: Turn) -> None:
        """From the wearer's last sound until the text was there."""
        if not turn.ended:
            return
        joules = self.body.build.processor * (self._clock.seconds - self._busy[0])
        if place == "server":
            joules = self.body.build.radio * (time.monotonic() - self._said)
        self.placement.measured("hearing", place, Cost(seconds=time.monotonic() - turn.ended, joules=joules))

    async def _response_created(self, event: dict[str, Any]) -> None:
        await super()._response_created(event)
        self._open, self._created, self._own = True, time.monotonic(), None
        if self._listener is None and self.turn is not None:
            self._hearing_cost("server", self.turn)
        if self._speaks:
            self._voice.begin()

    async def _response_output_text_delta(self, event: dict[str, Any]) -> None:
        self._own = event["item_id"]
        self._voice.push(event["delta"])

    def _own_sound(self, said: Spoken) -> None:
        if self._own is not None and self._own != self._stopped:
            self._sound(self._own, len(said.audio) / said.rate, self._answered)

    def _sound(self, item: str, seconds: float, turn: Turn | None) -> None:
        first = turn is not None and not turn.sound
        super()._sound(item, seconds, turn)
        if first and self._created:
            joules = self.body.build.processor * (self._voice.seconds - self._busy[1])
            if not self._speaks:
                joules = self.body.build.radio * seconds
            place: Any = "device" if self._speaks else "server"
            self.placement.measured("speaking", place, Cost(seconds=time.monotonic() - self._created, joules=joules))

    async def _response_done(self, event: dict[str, Any]) -> None:
        self._open = False
        if self._speaks:
            self._voice.end()
        await super()._response_done(event)

    async def _truncate(self, item: str, heard: float) -> None:
        """Of what the device spoke itself the server knows no times: the item is put in place of by what was heard."""
        if item != self._own:
            await super()._truncate(item, heard)
            return
        self._voice.stop()
        words = self._voice.heard(heard)
        await self.link.send("conversation.item.delete", item_id=item)
        self.link.items.pop(item, None)
        if words:
            content = [{"type": "output_text", "text": words}]
            name = f"{item}_heard"[:64]
            told = {"id": name, "type": "message", "role": "assistant", "content": content}
            await self.link.send("conversation.item.create", item=told)
            self.link.items[name] = Remembered("assistant", words)
