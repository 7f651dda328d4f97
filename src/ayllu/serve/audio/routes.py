"""`/v1/audio/transcriptions`, `/v1/audio/translations` and `/v1/audio/speech`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Literal, NoReturn, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ayllu.serve.audio.speech import Speech
from ayllu.serve.audio.transcripts import events, transcript
from ayllu.serve.errors import ApiError
from ayllu.serve.files.form import Form, read_form
from ayllu.serve.routing.app import App

TextFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
MOST_BYTES = 25 << 20
"""Of a file, as in OpenAI's API."""
KINDS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
"""Endings of files with sound, as in OpenAI's API."""
SINGLE = ("model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy")
SEVERAL = (
    "include[]",
    "keywords[]",
    "languages[]",
    "timestamp_granularities[]",
    "known_speaker_names[]",
    "known_speaker_references[]",
)
NESTED = "chunking_strategy["
CANNOT_HEAR = "this server cannot hear: no speech recogniser"
VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
"""What clients ask for that know OpenAI's voices only: they get the voice that is here."""
MEDIA = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


class VoiceId(BaseModel):
    """A voice of one's own."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    id: StrictStr


class SpeechBody(BaseModel):
    """`POST /v1/audio/speech`."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    model: StrictStr
    input: StrictStr = Field(min_length=1, max_length=4096)
    voice: StrictStr | VoiceId
    instructions: StrictStr | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4)
    stream_format: Literal["sse", "audio"] = "audio"


class Audio:
    """The routes; without `speech` a request is checked, and refused for want of ears or of a voice."""

    def __init__(self, speech: Speech | None = None) -> None:
        self._speech = speech

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/v1/audio/transcriptions", self.listen, methods=["POST"])
        app.add_endpoint("/v1/audio/translations", self.translate, methods=["POST"])
        app.add_endpoint("/v1/audio/speech", self.speak, methods=["POST"])

    async def translate(self, http: Request) -> NoReturn:
        """Sound to English text, from another language."""
        _check(await read_form(http, _Kept))
        raise ApiError(501, f"{CANNOT_HEAR} that translates is installed", code="not_implemented")

    async def listen(self, http: Request) -> Response:
        """Sound to text; the file lies in memory until it has been read, and is kept nowhere."""
        kept = _Kept()
        form = await read_form(http, lambda: kept)
        _check(form)
        if self._speech is None:
            raise ApiError(501, f"{CANNOT_HEAR} is installed", code="not_implemented")
        _check_heard(form, self._speech)
        if form.file_bytes > MOST_BYTES:
            raise ApiError(413, f"the file has more than {MOST_BYTES >> 20} MiB; cut the sound", param="file")
        from ayllu.serve.audio.sound_files import read_sound  # which imports numpy, as little else here does

        sound = await read_sound(kept.data, (form.filename or "").rpartition(".")[2].lower())
        segments = self._speech.transcribe(sound)
        if form.one("stream") == "true":
            return StreamingResponse(events(segments), media_type="text/event-stream")
        found = [segment async for segment in segments]
        return transcript(found, form.one("response_format") or "json", sound.seconds)

    async def speak(self, body: SpeechBody) -> Response:
        """Text to sound: WAV and PCM as it is made, the other kinds when it is whole."""
        if self._speech is None:
            raise ApiError(501, "this server cannot speak: no voice is installed", code="not_implemented")
        _check_spoken(body, self._speech)
        import numpy as np

        from ayllu.serve.audio.sound_files import coded, pcm, write_wav

        pieces = self._speech.say(body.input, speed=body.speed)
        if body.response_format == "pcm" and body.stream_format == "audio":
            return StreamingResponse((pcm(piece) async for piece in pieces), media_type="audio/pcm")
        sound = np.concatenate([np.zeros(0, np.float32), *[piece async for piece in pieces]])
        if body.response_format in ("wav", "pcm"):
            data = write_wav(sound, self._speech.rate) if body.response_format == "wav" else pcm(sound)
        else:
            data = await coded(sound, self._speech.rate, body.response_format)
        if body.stream_format == "sse":
            return StreamingResponse(_told(data), media_type="text/event-stream")
        return Response(data, media_type=MEDIA[body.response_format])


class _Kept:
    """A sink that keeps a file as long as it may become."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        """Keep the bytes; of a file that is too large nothing more."""
        if len(self.data) <= MOST_BYTES:
            self.data += data


def _told(data: bytes) -> Iterator[str]:
    """The sound as events."""
    yield f"data: {json.dumps({'type': 'speech.audio.delta', 'audio': base64.b64encode(data).decode()})}\n\n"
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield f"data: {json.dumps({'type': 'speech.audio.done', 'usage': usage})}\n\n"


def _check_heard(form: Form, speech: Speech) -> None:
    """ApiError for what a recogniser of passages cannot do."""
    language = (form.one("language") or "en").partition("-")[0]
    if language not in speech.languages:
        raise _invalid(
            "language", f"{language[:20]!r} is not understood here, only {', '.join(sorted(speech.languages))}"
        )
    if form.one("prompt"):
        raise _invalid("prompt", "the recogniser here takes no prompt; leave it out")
    if float(form.one("temperature") or 0):
        raise _invalid("temperature", "words are not drawn here; leave temperature out, or 0")
    if form.one("response_format") == "diarized_json":
        raise _invalid("response_format", "who speaks is not told apart here; choose another response_format")
    if "word" in form.fields.get("timestamp_granularities[]", []):
        raise _invalid("timestamp_granularities", "times are known for passages only; choose segment")
    if form.one("chunking_strategy") not in (None, "auto") or any(name.startswith(NESTED) for name in form.fields):
        raise _invalid("chunking_strategy", "sound is cut at its pauses; leave chunking_strategy out, or auto")
    for name in SEVERAL:
        if name != "timestamp_granularities[]" and form.fields.get(name):
            raise _invalid(name, f"{name} is not done here; leave it out")


def _check_spoken(body: SpeechBody, speech: Speech) -> None:
    """ApiError for a voice that nobody has, and for instructions to it."""
    asked = body.voice if isinstance(body.voice, str) else body.voice.id
    if asked not in (speech.voice, *VOICES):
        raise _invalid("voice", f"there is no voice {asked[:40]!r}; the voice here is {speech.voice!r}")
    if body.instructions:
        raise _invalid("instructions", "the voice here takes no instructions; leave them out")


def _check(form: Form) -> None:
    for name in form.fields:
        if name not in (*SINGLE, *SEVERAL) and not name.startswith(NESTED):
            shown = name[:100]
            raise ApiError(
                400, f"{shown} is not a parameter that this server knows", param=shown, code="unknown_parameter"
            )
    values = {name: form.one(name) for name in SINGLE}
    if values["model"] is None:
        raise ApiError(400, "model is missing", param="model", code="missing_required_parameter")
    if (kind := (form.filename or "").rpartition(".")[2].lower()) not in KINDS:
        raise _invalid("file", f"a file whose name ends with .{kind[:10]} is no sound; send one of {', '.join(KINDS)}")
    if not form.file_bytes:
        raise _invalid("file", "the file is empty")
    if (layout := values["response_format"]) is not None and layout not in get_args(TextFormat):
        raise _invalid("response_format", f"response_format must be one of {', '.join(get_args(TextFormat))}")
    if (temperature := values["temperature"]) is not None and not _within(temperature, 0, 1):
        raise _invalid("temperature", "temperature must be a number from 0 to 1")
    if values["stream"] not in (None, "true", "false"):
        raise _invalid("stream", "stream must be true or false")
    for grain in form.fields.get("timestamp_granularities[]", []):
        if grain not in ("word", "segment"):
            raise _invalid("timestamp_granularities", "timestamp_granularities must be word or segment")


def _within(value: str, lowest: float, highest: float) -> bool:
    try:
        return lowest <= float(value) <= highest
    except ValueError:
        return False


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
