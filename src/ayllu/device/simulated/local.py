"""The device's own ears and voice: the same stages as the server's, on the device, and how long they computed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ayllu.device.audio.pcm import Samples
from ayllu.device.parts import Parts, Recogniser, Voice
from ayllu.device.speak.clauses import Clauses
from ayllu.device.speak.speaker import Spoken, spoken


@dataclass
class TimedEars:
    """A recogniser that counts the seconds for which it computes."""

    inner: Recogniser
    name: str
    seconds: float = 0.0

    def transcribe(self, audio: Samples) -> str:
        began = time.monotonic()
        try:
            return self.inner.transcribe(audio)
        finally:
            self.seconds += time.monotonic() - began


def own_ears(parts: Parts) -> tuple[Parts, TimedEars]:
    """Parts for listening on the device, without a second look, and the clock of their recogniser."""
    timed = TimedEars(parts.recogniser, parts.recogniser.name)
    return replace(parts, recogniser=timed, final=None), timed


@dataclass
class OwnVoice:
    """Says a text while it comes. `play` takes each piece of sound as it is ready."""

    voice: Voice
    play: Callable[[Spoken], None]
    seconds: float = 0.0
    """For which it has computed."""
    words: list[tuple[str, float]] = field(default_factory=list)
    """Of the answer, each with the second of its sound at which it ends."""
    length: float = 0.0
    """Seconds of the answer's sound."""
    _clauses: Clauses = field(default_factory=Clauses)
    _pieces: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="own-voice"))
    _task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether there is still something to be said."""
        return self._task is not None and not self._task.done()

    def begin(self) -> None:
        """Another answer."""
        self.stop()
        self._clauses, self._pieces = Clauses(), asyncio.Queue()
        self.words, self.length = [], 0.0
        self._task = asyncio.create_task(self._work())

    def push(self, text: str) -> None:
        """More of the answer."""
        for piece in self._clauses.push(text):
            self._pieces.put_nowait(piece)

    def end(self) -> None:
        """The answer is complete."""
        for piece in self._clauses.close():
            self._pieces.put_nowait(piece)
        self._pieces.put_nowait(None)

    def stop(self) -> None:
        """Say no more of it."""
        if self._task is not None:
            self._task.cancel()

    def heard(self, seconds: float) -> str:
        """The words that ended before so much of the sound had been played."""
        return " ".join(word for word, end in self.words if end <= seconds)

    async def _work(self) -> None:
        run = asyncio.get_running_loop().run_in_executor
        async for text in self._texts():
            began = time.monotonic()
            said = await run(self._pool, spoken, self.voice, text)
            self.seconds += time.monotonic() - began
            if said is None:
                continue
            self.words += [(word.text, self.length + word.end / said.rate) for word in said.words]
            self.length += len(said.audio) / said.rate
            self.play(said)

    async def _texts(self) -> AsyncIterator[str]:
        while (text := await self._pieces.get()) is not None:
            yield text
