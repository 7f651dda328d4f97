"""Noise, battery, temperature and scripts of the simulated device: no models."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from ayllu.device.audio.mel import RATE
from ayllu.device.simulated.body import Body, Build
from ayllu.device.simulated.noise import mixed, noise, power
from ayllu.device.simulated.script import read_script
from ayllu.device.simulated.senses import Microphone, read_wav
from ayllu.lab.error import UserError

TONE = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE).astype(np.float32) * 0.3


@pytest.mark.parametrize("kind", ["room", "wind", "walking"])
@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_is_mixed_at_the_stated_ratio_to_speech_and_not_to_its_pauses(kind: str, snr: float) -> None:
    speech = np.concatenate([np.zeros(RATE, np.float32), TONE, np.zeros(RATE, np.float32)])
    under = mixed(speech, kind, snr, seed=3) - speech  # type: ignore[arg-type]
    found = 10 * np.log10(0.3**2 / 2 / np.mean(under.astype(np.float64) ** 2))
    assert abs(found - snr) < 0.2
    assert abs(power(speech) - 0.045) < 0.001


def test_wind_is_low_and_steps_come_about_twice_a_second() -> None:
    wind = np.abs(np.fft.rfft(noise("wind", 10 * RATE, 0))) ** 2
    hertz = np.fft.rfftfreq(10 * RATE, 1 / RATE)
    assert wind[hertz < 300].sum() > 0.9 * wind.sum()
    steps = np.abs(noise("walking", 10 * RATE, 0)).reshape(-1, 320).max(axis=1)
    rhythm = np.abs(np.fft.rfft(steps - steps.mean()))[1:60]
    assert 15 <= rhythm.argmax() + 1 <= 42  # steps in ten seconds, or the second harmonic
    assert (noise("wind", 1000, 1) == noise("wind", 1000, 1)).all()
    assert (noise("wind", 1000, 1) != noise("wind", 1000, 2)).any()


def test_the_battery_empties_by_what_is_done_and_the_temperature_settles() -> None:
    build = Build(watt_hours=1.0, idle=0.1, camera=1.0, surroundings=20.0, resistance=10.0, settling=60.0)
    once, often = Body(build), Body(build)
    once.passes(3600.0, camera=1800.0)
    for _ in range(3600):
        often.passes(1.0, camera=0.5)
    assert once.charge == pytest.approx(1 - 0.1 - 0.5) and often.charge == pytest.approx(once.charge)
    assert once.joules == pytest.approx({"idle": 360.0, "camera": 1800.0})
    assert often.degrees == pytest.approx(20.0 + 10.0 * 0.6, abs=0.01) and once.degrees == pytest.approx(often.degrees)
    often.passes(60.0)
    assert often.degrees == pytest.approx(21.0 + 5.0 * np.exp(-1), abs=0.02)
    often.passes(1e6)
    assert often.empty and often.charge == 0


@pytest.mark.parametrize("width, rate, channels", [(1, 8_000, 1), (2, 22_050, 2), (4, 48_000, 1)])
def test_recordings_of_any_form_become_the_microphone(tmp_path: Path, width: int, rate: int, channels: int) -> None:
    t = np.arange(rate) / rate
    scale = 2 ** (8 * width - 1) - 1
    values = np.round(0.5 * scale * np.sin(2 * np.pi * 200 * t)).astype(np.int64) + (128 if width == 1 else 0)
    data = np.repeat(values, channels).astype({1: "u1", 2: "<i2", 4: "<i4"}[width])
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data.tobytes())
    sound = read_wav(tmp_path / "a.wav")
    assert len(sound) == RATE and np.sqrt(np.mean(sound**2)) == pytest.approx(0.3535, abs=0.01)
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="no WAV"):
        read_wav(tmp_path / "b.wav")


def test_the_microphone_gives_speech_once_with_the_noise_going_on() -> None:
    microphone = Microphone(kind="wind", snr=10.0)
    microphone.say(TONE)
    pieces = [microphone.read(1000) for _ in range(40)]
    levels = [float(np.mean(piece.astype(np.float64) ** 2)) for piece in pieces]
    assert not microphone.speaking and min(levels[:32]) > 0.02 and max(levels[33:]) < 0.03 and min(levels[33:]) > 0


@pytest.mark.parametrize(
    "text, told",
    [
        ("steps: []", "at least 1"),
        ("steps: [{say: hello, wait: 1}]", "exactly one"),
        ("steps: [{wait: 1, expect: a}]", "belong to"),
        ("steps: [{say: hello, noise: thunder}]", "noise"),
        ("steps: [{dance: 1}]", "dance"),
        ("steps: [{wav: none.wav}]", "no file"),
        ("device: {battery: 2}\nsteps: [{wait: 1}]", "battery"),
        (": : :", "neither YAML nor JSON"),
        ("[1]", "dictionary"),
    ],
)
def test_a_script_that_is_wrong_is_told_in_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=told) as caught:
        read_script(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
