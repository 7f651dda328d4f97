"""What the chain is made of, loaded once and shared by all sessions; each part works in a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples
from ayllu.device.hear.moonshine import Moonshine
from ayllu.device.hear.opinion import said_once, says_again
from ayllu.device.hear.turn import FixedWait, SmartTurn, TurnEnd
from ayllu.device.hear.vad import Detector, Silero
from ayllu.device.hear.wearer import Voices
from ayllu.device.hear.whisper import Whisper
from ayllu.device.see.eyes import Eyes
from ayllu.device.see.picture import Pixels
from ayllu.device.see.scene import Scene
from ayllu.device.see.taught import Taught
from ayllu.device.speak.kokoro import Kokoro, KokoroModel
from ayllu.device.speak.piper import Piper
from ayllu.device.translate.translator import Translator
from ayllu.device.worker import Worker
from ayllu.lab.error import UserError
from ayllu.lab.progress import say


class Recogniser(Protocol):
    """Sound to text."""

    name: str

    def transcribe(self, audio: Samples) -> str:
        """The words in a piece of sound at 16 kHz."""
        ...


class Voice(Protocol):
    """Text to sound."""

    name: str
    rate: int
    """Samples a second of what it says."""

    def say(self, text: str, *, speed: float = 1.0) -> Samples:
        """The sound of a text."""
        ...


class Looker(Protocol):
    """Pictures to statements."""

    @property
    def names(self) -> Mapping[str, str]:
        """Which model fills which role."""
        ...

    def view(self, data: bytes) -> tuple[Scene, Pixels]:
        """What is seen in a picture, and its pixels (H, W, 3) with their faces blurred. Raises NoPicture."""
        ...


class Detectors(Protocol):
    """Makes a detector of speech for each stream."""

    name: str

    def stream(self) -> Detector:
        """A detector for one stream."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The ears and the voice."""

    activity: Detectors
    turn: TurnEnd
    recogniser: Recogniser
    """Follows the speaker; what it says last begins the answer."""
    final: Recogniser | None
    """The stronger one, whose text is kept."""
    voice: Voice
    eyes: Looker | None = None
    taught: Taught | None = None
    """The model that answers, where it takes pictures itself."""
    voices: Voices | None = None
    """Tells voices apart, where only the wearer is answered."""
    language: str = "en"
    """Which one is heard."""
    translator: Translator | None = None
    other_voice: Voice | None = None
    """Speaks the language that is translated into."""
    following: Worker = field(default_factory=lambda: Worker("the recogniser"))
    judging: Worker = field(default_factory=lambda: Worker("the judge of pauses"))
    rescoring: Worker = field(default_factory=lambda: Worker("the second recogniser"))
    speaking: Worker = field(default_factory=lambda: Worker("the voice"))
    seeing: Worker = field(default_factory=lambda: Worker("what looks at pictures"))
    telling: Worker = field(default_factory=lambda: Worker("what tells voices apart"))
    translating: Worker = field(default_factory=lambda: Worker("the translation"))

    @property
    def names(self) -> dict[str, str]:
        """Which model fills which role."""
        return {
            "voice activity": self.activity.name,
            "end of turn": self.turn.name,
            "streaming recognition": self.recogniser.name,
            "final recognition": self.final.name if self.final else "none",
            "voice": self.voice.name,
            **(self.eyes.names if self.eyes else {}),
            **({"guesses about shapes": self.taught.name} if self.taught else {}),
            **({"voices, told apart": self.voices.name} if self.voices else {}),
            **({"translation": self.translator.name} if self.translator else {}),
        }

    async def follow(self, audio: Samples) -> str:
        """The words in a piece of sound at 16 kHz, from what follows the speaker. Raises Stuck where that hangs."""
        return await self.following.within(len(audio) / RATE, partial(self.recogniser.transcribe, audio))

    async def rescore(self, audio: Samples) -> str:
        """The words by the stronger recogniser, where there is one. Raises Stuck where that hangs."""
        if self.final is None:
            return await self.follow(audio)
        text = await self.rescoring.within(len(audio) / RATE, partial(self.final.transcribe, audio))
        return said_once(text, await self.follow(audio)) if says_again(text) else text

    def view(self, data: bytes) -> Scene:
        """What is seen in a picture, and what a model that sees takes of it. Raises NoPicture and UserError."""
        assert self.eyes is not None
        scene, pixels_HW3 = self.eyes.view(data)
        return scene if self.taught is None else self.taught.view(scene, pixels_HW3)

    async def whose(self, audio: Samples) -> Samples | None:
        """Whose voice a piece of sound at 16 kHz has; None where nobody asks. Raises Stuck where that hangs."""
        if self.voices is None:
            return None
        return await self.telling.within(len(audio) / RATE, partial(self.voices.of, audio))

    def close(self) -> None:
        """Let the threads go."""
        for worker in (
            self.following,
            self.judging,
            self.rescoring,
            self.speaking,
            self.seeing,
            self.telling,
            self.translating,
        ):
            worker.close()


def load_parts(cache: Path, *, voices: bool = False, translate: tuple[str, str] | None = None) -> Parts:
    """Fetch every model, and load all but the eyes', which the first picture loads; what tells `voices` apart, and what
    translates from a language to another, if asked.

    Raises UserError where one that has no stand-in cannot be had.

    Without a judge of pauses turns end by a fixed wait, without the second recogniser the first has the last word, and
    without a part of the eyes pictures are refused.
    """
    translator = Translator(*translate, cache) if translate else None
    language = translator.source if translator else "en"
    turn: TurnEnd
    final: Recogniser | None
    eyes: Looker | None
    try:
        turn = SmartTurn(cache)
    except UserError as error:
        say(f"turns end by a fixed wait: {error}")
        turn = FixedWait()
    try:
        final = Whisper(cache) if language == "en" else None
    except UserError as error:
        say(f"what was heard is not looked at a second time: {error}")
        final = None
    try:
        eyes = Eyes(cache)
    except UserError as error:
        say(f"pictures are not looked at: {error}")
        eyes = None
    voice = Piper(cache, threads=1)
    return Parts(
        activity=Silero(cache),
        turn=turn,
        recogniser=Moonshine(cache) if language == "en" else Whisper(cache, language=language),
        final=final,
        voice=voice,
        eyes=eyes,
        voices=_voices(cache) if voices else None,
        language=language,
        translator=translator,
        other_voice=_other_voice(translator, voice, cache),
    )


KOKORO = {"pt": ("pf_dora", "pt-br"), "es": ("ef_dora", "es")}
"""By language, the voice, and what espeak-ng calls the language."""


def _other_voice(translator: Translator | None, voice: Voice, cache: Path) -> Voice | None:
    """What speaks the target language."""
    if translator is None or translator.target == "en":
        return voice if translator else None
    try:
        return Kokoro(KokoroModel(cache), cache, *KOKORO[translator.target])
    except UserError as error:
        say(f"translations are shown and not spoken: {error}")
        return None


def _voices(cache: Path) -> Voices:
    from ayllu.device.hear.campplus import CamPlus  # torch, which nothing else of the glasses needs

    return CamPlus(cache)
