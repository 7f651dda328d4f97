"""A pair of glasses of software: streams its microphone, shows its camera, and plays what it hears."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Resampler, Samples, from_pcm16, to_pcm16
from ayllu.device.simulated.body import Body
from ayllu.device.simulated.link import Link, Remembered
from ayllu.device.simulated.senses import Microphone

WIRE = 24_000
PIECE = 0.1
"""Seconds of sound in one event."""
QUIET = 1.0
"""Seconds behind the wearer's last word after which nobody speaks."""
PICTURE = 0.2
"""Seconds that the camera is on for one picture."""


@dataclass
class Turn:
    """What became of one thing that the wearer said."""

    said: str
    heard: str = ""
    answer: str = ""
    status: str = "unanswered"
    """Of the response; `cut` where the connection broke while the answer was heard."""
    rests_on: list[dict[str, Any]] | None = None
    ended: float = 0.0
    """When the wearer's last sound was sent, in monotonic seconds."""
    sound: float = 0.0
    """When the first sound of the answer came."""
    repeated: int = 0
    interrupted: bool = False
    placed: list[dict[str, str]] = field(default_factory=list)
    """Where its stages ran, and why."""
    misheard: bool = False
    """The server says that it understood nothing."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """The answer can be heard."""

    def forget(self) -> None:
        """Begin again."""
        self.heard, self.answer, self.status, self.sound, self.misheard = "", "", "unanswered", 0.0, False
        self.done.clear()
        self.begun.clear()


def words_of(item: dict[str, Any]) -> str:
    """The words of a message, written or spoken."""
    return " ".join(part.get("text") or part.get("transcript") or "" for part in item["content"]).strip()


@dataclass
class Device:
    """The device. `pace` is seconds of real time for one of sound while somebody speaks; 0 for as fast as it goes."""

    url: str
    body: Body = field(default_factory=Body)
    microphone: Microphone = field(default_factory=Microphone)
    key: str | None = None
    pace: float = 1.0
    picture: Path | None = None
    turn: Turn | None = None
    problems: list[str] = field(default_factory=list)
    cancel: bool = True
    """Whether the server is to cancel the echo, where there is a loudspeaker."""
    interrupted_itself: int = 0
    """How often an answer was taken for somebody who speaks."""

    def __post_init__(self) -> None:
        audio = {"input": {"transcription": {}, "turn_detection": {"type": "semantic_vad"}}}
        self.link = Link(self.url, {"type": "realtime", "audio": audio}, self._on, self.key)
        self._resampler, self._player = Resampler(RATE, WIRE), Resampler(WIRE, RATE)
        self._playing: str | None = None
        self._stopped: str | None = None
        """The item whose sound is played no more."""
        self._started = self._until = 0.0
        """When the answer's sound began, pauses for want of it left out, and when it will have been played."""
        self._camera = 0.0
        """Seconds for which the camera is still on."""
        self._turns: dict[str, Turn] = {}
        """By the names of items and responses."""
        self._answered: Turn | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def playing(self) -> bool:
        """Whether an answer can be heard now."""
        return time.monotonic() < self._until

    @property
    def answering(self) -> bool:
        """Whether an answer can be heard now, or soon."""
        return self.playing

    async def live(self) -> None:
        """Stream the microphone until cancelled, or until the battery is empty."""
        connecting = asyncio.create_task(self.link.run())
        try:
            while not self.body.empty:
                if connecting.done():
                    connecting.result()
                await self._piece()
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    async def _piece(self) -> None:
        began, speaking = time.monotonic(), self.microphone.speaking
        here = self.link.open.is_set()
        # While there is no connection nobody is heard: what is said waits, as people do.
        if here:
            await self._listen(self.microphone.read(int(PIECE * RATE)))
            if speaking and not self.microphone.speaking and self.turn is not None:
                self.turn.ended = time.monotonic()
        camera, radio, speaker = min(PIECE, self._camera), PIECE if here else 0.0, PIECE if self.playing else 0.0
        self._camera -= camera
        self.body.passes(PIECE, microphone=PIECE, radio=radio, speaker=speaker, camera=camera)
        pace = self.pace if speaking and here else 1.0
        await asyncio.sleep(max(0.0, PIECE * pace - (time.monotonic() - began)))

    async def _listen(self, sound: Samples) -> None:
        """The next piece of the microphone, at 16 kHz."""
        wire = base64.b64encode(to_pcm16(self._resampler.push(sound))).decode()
        await self.link.send("input_audio_buffer.append", audio=wire)

    async def place(self, turn: Turn) -> None:
        """Choose where the stages of a turn run: all of them on the server."""

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on(self, event: dict[str, Any]) -> None:
        work = getattr(self, "_" + event["type"].replace(".", "_"), None)
        if work is not None:
            await work(event)

    async def _session_updated(self, event: dict[str, Any]) -> None:
        self._playing = None  # what plays on belongs to a session that is no more
        if (loudspeaker := self.microphone.loudspeaker) is not None:
            loudspeaker.stop()
            await self.link.send("x.echo_cancellation", on=self.cancel)
        await self.link.send("x.camera", on=self.picture is not None)

    async def _input_audio_buffer_speech_started(self, event: dict[str, Any]) -> None:
        quiet = self.turn is None or time.monotonic() - self.turn.ended > QUIET
        if self.playing and quiet and not self.microphone.speaking:
            self.interrupted_itself += 1
        await self._interrupted()

    async def _interrupted(self) -> None:
        """The wearer speaks: what is being said stops, and the server is told how much was heard."""
        if self._playing is not None and self.playing:
            heard = max(0.0, time.monotonic() - self._started)
            self._stopped, self._until = self._playing, 0.0
            if self.microphone.loudspeaker is not None:
                self.microphone.loudspeaker.stop()
            await self._truncate(self._stopped, heard)

    async def _truncate(self, item: str, heard: float) -> None:
        end = round(1000 * heard)
        await self.link.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=end)

    async def _conversation_item_truncated(self, event: dict[str, Any]) -> None:
        self._spawn(self._refresh(event["item_id"]))

    async def _refresh(self, name: str) -> None:
        if (item := await self.link.ask(name)) is not None:
            self.link.items[name] = Remembered(item["role"], words_of(item))

    async def _input_audio_buffer_committed(self, event: dict[str, Any]) -> None:
        if self.turn is not None:
            self._turns[event["item_id"]] = self.turn

    async def _conversation_item_input_audio_transcription_completed(self, event: dict[str, Any]) -> None:
        self.link.items[event["item_id"]] = Remembered("user", event["transcript"])
        if (turn := self._turns.get(event["item_id"])) is not None:
            turn.heard = f"{turn.heard} {event['transcript']}".strip()
            turn.misheard = not turn.heard

    async def _conversation_item_input_audio_transcription_failed(self, event: dict[str, Any]) -> None:
        if self.turn is not None:
            self.turn.misheard = True

    async def _conversation_item_done(self, event: dict[str, Any]) -> None:
        self._remember(event["item"])

    def _remember(self, item: dict[str, Any]) -> None:
        if item["type"] != "message":
            return
        if text := words_of(item):
            self.link.items[item["id"]] = Remembered(item["role"], text)

    async def _x_look(self, event: dict[str, Any]) -> None:
        if self.picture is None:
            return
        self._camera += PICTURE
        kind = "png" if self.picture.suffix.lower() == ".png" else "jpeg"
        url = f"data:image/{kind};base64,{base64.b64encode(self.picture.read_bytes()).decode()}"
        content = [{"type": "input_image", "image_url": url}]
        await self.link.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    async def _x_grounded(self, event: dict[str, Any]) -> None:
        if self._answered is not None:
            self._answered.rests_on = event["rests_on"]

    async def _response_created(self, event: dict[str, Any]) -> None:
        if self.turn is not None:
            self._turns[event["response"]["id"]] = self._answered = self.turn

    async def _response_output_audio_delta(self, event: dict[str, Any]) -> None:
        if event["item_id"] != self._stopped:
            sound = from_pcm16(base64.b64decode(event["delta"]))
            if self.microphone.loudspeaker is not None:
                self.microphone.loudspeaker.play(self._player.push(sound))
            self._sound(event["item_id"], len(sound) / WIRE, self._turns.get(event["response_id"]))

    def _sound(self, item: str, seconds: float, turn: Turn | None) -> None:
        """So much sound of an item has come, which is played behind what is playing."""
        now = time.monotonic()
        if item != self._playing:
            self._playing, self._started, self._until = item, max(now, self._until), max(now, self._until)
            if turn is not None:
                turn.sound = turn.sound or now
                turn.begun.set()
        self._started += max(0.0, now - self._until)
        self._until = max(now, self._until) + seconds

    async def _response_done(self, event: dict[str, Any]) -> None:
        response = event["response"]
        if (turn := self._turns.pop(response["id"], None)) is None:
            return
        turn.status = response["status"]
        for item in response["output"]:
            for part in item.get("content", ()):
                turn.answer = f"{turn.answer} {part.get('transcript') or part.get('text') or ''}".strip()
        if turn.status != "cancelled" or turn.interrupted:
            turn.done.set()

    async def _error(self, event: dict[str, Any]) -> None:
        self.problems.append(event["error"]["message"])

    def say(self, turn: Turn, speech: Samples) -> None:
        """Begin a turn, or begin it again."""
        self._turns = {name: one for name, one in self._turns.items() if one is not turn}
        self.turn = turn
        self.microphone.say(speech)
