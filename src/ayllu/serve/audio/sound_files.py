"""Files of sound: WAV by ourselves, every other kind by the program ffmpeg, which is a process of its own."""

from __future__ import annotations

import asyncio
import io
import shutil
import struct
import wave

import numpy as np

from ayllu.serve.audio.speech import Samples, Sound
from ayllu.serve.errors import ApiError

LONGEST = 3600
"""Seconds."""
CODED = {"mp3": "mp3", "opus": "opus", "aac": "adts", "flac": "flac"}
"""What ffmpeg calls them."""
PROGRAM, SECONDS = "ffmpeg", 120
RATES = range(4_000, 192_001)


async def read_sound(data: bytes, kind: str) -> Sound:
    """The sound in a file that ends with `kind`; ApiError where there is none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        sound = read_wav(data)
    else:
        why = f"files that end with .{kind} are read by the program {PROGRAM}, which is not installed here; send a .wav"
        options = ["-i", "pipe:0", "-t", str(LONGEST + 1), "-vn", "-ac", "1", "-ar", "16000", "-f", "f32le", "pipe:1"]
        coded = await _run(["-protocol_whitelist", "pipe", *options], data, why)
        sound = Sound(samples=np.frombuffer(coded[: len(coded) // 4 * 4], "<f4"), rate=16_000)
    if not len(sound.samples):
        raise _invalid("the file holds no sound")
    if sound.seconds > LONGEST:
        raise _invalid(f"the sound is longer than {LONGEST} seconds; cut it")
    return sound


def read_wav(data: bytes) -> Sound:
    """A WAV file of whole numbers or floats; several channels become their mean."""
    kind, channels, rate, bits = _wav_format(data)
    place = _chunk(data, b"data")
    body = data[place[0] : place[0] + place[1]]
    if channels < 1 or rate not in RATES:
        raise _invalid(f"a WAV file of {channels} channels at {rate} Hz is not read here")
    values = _values(body, kind, bits)
    values = values[: len(values) // channels * channels].reshape(-1, channels)
    samples = np.nan_to_num(values.mean(axis=1)).clip(-1, 1)
    return Sound(samples=np.asarray(samples, np.float32), rate=rate)


def write_wav(samples: Samples, rate: int) -> bytes:
    """A WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm(samples))
    return file.getvalue()


def pcm(samples: Samples) -> bytes:
    """Little-endian 16-bit samples."""
    return np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2").tobytes()


async def coded(samples: Samples, rate: int, kind: str) -> bytes:
    """A sound in a coded format; ApiError where the program for it is missing."""
    why = f"{kind} is made by the program {PROGRAM}, which is not installed here; ask for wav or pcm"
    form = ["-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0", "-f", CODED[kind], "pipe:1"]
    return await _run(form, pcm(samples), why)


async def _run(options: list[str], data: bytes, why: str) -> bytes:
    program = shutil.which(PROGRAM)
    if program is None:
        raise ApiError(501, why, code="not_implemented")
    process = await asyncio.create_subprocess_exec(
        program,
        *["-nostdin", "-v", "error", *options],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate(data)
    except TimeoutError:
        raise _invalid("the file takes too long to read") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise _invalid("the file holds no sound that can be read")
    return out


def _wav_format(data: bytes) -> tuple[int, int, int, int]:
    start, size = _chunk(data, b"fmt ")
    if size < 16 or start + 16 > len(data):
        raise _invalid("the WAV file is damaged")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, start)
    if kind == 0xFFFE and size >= 26 and start + 26 <= len(data):
        kind = struct.unpack_from("<H", data, start + 24)[0]
    return kind, channels, rate, bits


def _chunk(data: bytes, name: bytes) -> tuple[int, int]:
    """Where the content of a chunk begins, and its size; what streams write for an unknown size runs to the end."""
    at = 12
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        if data[at : at + 4] == name:
            return at + 8, min(size, len(data) - at - 8)
        at += 8 + size + size % 2
    raise _invalid("the WAV file is damaged")


def _values(body: bytes, kind: int, bits: int) -> np.ndarray:
    whole = body[: len(body) // max(1, bits // 8) * max(1, bits // 8)]
    match kind, bits:
        case 1, 8:
            return (np.frombuffer(whole, np.uint8).astype(np.float64) - 128) / 128
        case 1, 16:
            return np.frombuffer(whole, "<i2") / 2**15
        case 1, 24:
            triples = np.frombuffer(whole, np.uint8).reshape(-1, 3).astype(np.int32)
            return ((triples[:, 0] << 8 | triples[:, 1] << 16 | triples[:, 2] << 24) >> 8) / 2**23
        case 1, 32:
            return np.frombuffer(whole, "<i4") / 2**31
        case 3, 32:
            return np.frombuffer(whole, "<f4").astype(np.float64)
        case 3, 64:
            return np.frombuffer(whole, "<f8")
    raise _invalid(f"a WAV file of format {kind} with {bits} bits is not read here; send 16-bit PCM")


def _invalid(message: str) -> ApiError:
    return ApiError(400, message, param="file", code="invalid_value")
