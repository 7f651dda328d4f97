"""On the wire: events as JSON, and sound as pcm16 at 24 kHz, or G.711 at 8 kHz."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ayllu.device.audio.pcm import Samples, from_g711, from_pcm16, to_g711, to_pcm16
from ayllu.serve.errors import ApiError


class Pcm(BaseModel):
    """16 bits, little-endian, one channel."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24_000] = 24_000


class Pcmu(BaseModel):
    """G.711 of the µ-law."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["audio/pcmu"] = "audio/pcmu"


class Pcma(BaseModel):
    """G.711 of the A-law."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["audio/pcma"] = "audio/pcma"


Format = Pcm | Pcmu | Pcma


def rate_of(form: Format) -> int:
    """Samples a second."""
    return form.rate if isinstance(form, Pcm) else 8_000


def decoded(text: str, form: Format) -> Samples:
    """The samples of a base64 text; ApiError where it holds none."""
    try:
        data = base64.b64decode(text, validate=True)
        if isinstance(form, Pcm):
            return from_pcm16(data)
    except (binascii.Error, ValueError) as error:
        raise ApiError(
            400, f"the audio is not base64 of {form.type}: {error}", param="audio", code="invalid_value"
        ) from None
    return from_g711(data, "ulaw" if isinstance(form, Pcmu) else "alaw")


def encoded(audio: Samples, form: Format) -> str:
    """Samples as a base64 text."""
    if isinstance(form, Pcm):
        return base64.b64encode(to_pcm16(audio)).decode()
    return base64.b64encode(to_g711(audio, "ulaw" if isinstance(form, Pcmu) else "alaw")).decode()


def parsed(text: str) -> dict[str, Any]:
    """An event of the client; ApiError where it is none."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(400, "the message is not JSON", code="invalid_json") from None
    if not isinstance(event, dict):
        raise ApiError(400, "the message must be a JSON object")
    return event
