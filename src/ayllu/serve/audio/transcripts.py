"""A transcript in the layouts that OpenAI's API has: JSON, text, subtitles, events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from ayllu.serve.audio.speech import Segment
from ayllu.serve.errors import ApiError


def text_of(segments: Sequence[Segment]) -> str:
    """All words."""
    return " ".join(segment.text for segment in segments)


def transcript(segments: Sequence[Segment], layout: str, seconds: float) -> Response:
    """The answer in a `layout`."""
    text, usage = text_of(segments), {"type": "duration", "seconds": round(seconds, 3)}
    match layout:
        case "text":
            return PlainTextResponse(text + "\n")
        case "srt":
            rows = (f"{place}\n{_span(one, ',')}\n{one.text}\n" for place, one in enumerate(segments, 1))
            return PlainTextResponse("\n".join(rows))
        case "vtt":
            rows = (f"{_span(one, '.')}\n{one.text}\n" for one in segments)
            return PlainTextResponse("WEBVTT\n\n" + "\n".join(rows))
        case "verbose_json":
            told = [
                {"id": place, "start": round(one.start, 3), "end": round(one.end, 3), "text": one.text}
                for place, one in enumerate(segments)
            ]
            body = {"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": told}
            return JSONResponse({**body, "usage": usage})
    return JSONResponse({"text": text, "usage": usage})


async def events(segments: AsyncGenerator[Segment]) -> AsyncGenerator[str]:
    """The words as they are found, and all of them at the end; what goes wrong on the way, as an event."""
    told: list[Segment] = []
    try:
        async for segment in segments:
            delta = f" {segment.text}" if told else segment.text
            told.append(segment)
            yield _event({"type": "transcript.text.delta", "delta": delta})
    except ApiError as error:
        yield _event(error.body)
        return
    yield _event({"type": "transcript.text.done", "text": text_of(told)})


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _span(segment: Segment, mark: str) -> str:
    return f"{_clock(segment.start, mark)} --> {_clock(segment.end, mark)}"


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
