"""A script for the simulated device: what the wearer does, in order, as YAML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ayllu.device.simulated.noise import Noise
from ayllu.lab.error import UserError

MOST_BYTES = 1 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Step(_Strict):
    """One thing that happens; exactly one of say, wav, wait, network."""

    say: str | None = Field(default=None, min_length=1, max_length=500)
    """Words, in the voice of the glasses."""
    wav: Path | None = None
    """A recording as the microphone, of any rate, mixed to one channel."""
    wait: float | None = Field(default=None, ge=0, le=3600)
    """Seconds of nothing but noise."""
    network: str | None = Field(default=None, pattern="^(drop)$")
    """The connection breaks, without a word, and is opened again."""
    picture: Path | None = None
    """What the camera shows from here on."""
    noise: Noise | None = None
    snr: float | None = Field(default=None, ge=-20, le=60)
    """Decibels from here on."""
    expect: str | None = None
    """Words that the answer holds, whatever their case."""
    interrupt: float | None = Field(default=None, ge=0, le=30)
    """So many seconds into the answer the next step begins."""

    @model_validator(mode="after")
    def _one(self) -> Step:
        given = [name for name in ("say", "wav", "wait", "network") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("a step has exactly one of say, wav, wait and network")
        if given[0] in ("wait", "network") and (self.expect is not None or self.interrupt is not None):
            raise ValueError("expect and interrupt belong to say and wav")
        return self


class Device(_Strict):
    """How the device begins."""

    battery: float = Field(default=1.0, ge=0, le=1)
    temperature: float | None = None
    build: dict[str, float] = Field(default_factory=dict)
    """Fields of `Build` that are other than its own."""


class Aloud(_Strict):
    """A loudspeaker beside the microphone."""

    down: float = Field(default=20, ge=0, le=80)
    """Decibels by which the microphone hears it below what it plays."""
    reverberation: float = Field(default=0.3, ge=0, le=2)
    """Seconds in which the sound of the room falls by 60 dB."""
    delay: float = Field(default=0.05, ge=0, le=3)
    """Seconds from when sound comes to when it is played."""
    cancel: bool = True
    """Whether the server is asked to cancel the echo."""


class Script(_Strict):
    """A device and what happens to it."""

    device: Device = Field(default_factory=Device)
    seed: int = 0
    noise: Noise = "room"
    snr: float = 30.0
    loudspeaker: Aloud | None = None
    """Without one the answer is heard by the wearer alone."""
    steps: list[Step] = Field(min_length=1, max_length=10_000)


def read_script(path: Path) -> Script:
    """A script from a file; its files lie beside it. Raises UserError, in one sentence."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} is larger than {MOST_BYTES >> 20} MiB: a script is not")
        given: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        script = Script.model_validate(given)
    except OSError as error:
        raise UserError(f"the script {path} cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise UserError(f"{path} is neither YAML nor JSON") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{path}: {place}: {first['msg']}") from None
    for step in script.steps:
        for name in ("wav", "picture"):
            if (file := getattr(step, name)) is not None:
                setattr(step, name, path.parent / file)
                if not (path.parent / file).is_file():
                    raise UserError(f"{path}: there is no file {path.parent / file}")
    return script
