#!/usr/bin/env bash
# wyoming 1.10.2, by which voice satellites and speech programs pass sound to each other: AudioChunkConverter(rate=16000)
# makes 48 kHz, as microphones and glasses give it, to the rate of recognisers by drawing lines between samples, without
# taking out what 16 kHz cannot hold. A tone of 9, 10 or 15 kHz (a whistle, a charger, the hiss of an s) comes out at
# full strength as one of 7, 6 or 1 kHz, in the midst of speech, which nothing takes out again; its volume, by which a
# detector decides, is that of speech. Resamplers of sound have a filter for it, and of a class that a protocol's own
# library has for this one takes it for granted. soxr 1.1.0 and PyAV 18.1.0 leave nothing of it. Up to 7 kHz all agree,
# so a test by a tone or a sentence looks right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check wyoming==1.10.2 soxr==1.1.0 av==18.1.0 numpy==2.4.6
cat > run.py <<'PY'
from importlib.metadata import version

import av
import numpy as np
import soxr
from wyoming.audio import AudioChunk, AudioChunkConverter

RATE, LOUD = 48_000, 8_000


def by_wyoming(sound):
    change = AudioChunkConverter(rate=16_000, width=2, channels=1)
    parts = (sound[at : at + 960].tobytes() for at in range(0, RATE, 960))
    return b"".join(change.convert(AudioChunk(rate=RATE, width=2, channels=1, audio=part)).audio for part in parts)


def by_av(sound):
    frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
    frame.sample_rate = RATE
    change = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    return b"".join(part.to_ndarray().tobytes() for given in (frame, None) for part in change.resample(given))


WAYS = {"wyoming": by_wyoming, "soxr": lambda sound: soxr.resample(sound, RATE, 16_000).tobytes(), "av": by_av}
for pitch in (1_000, 7_000, 9_000, 10_000, 15_000):
    sound = (LOUD * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)).astype("<i2")
    for name, way in WAYS.items():
        heard = np.frombuffer(way(sound), "<i2")[1_000:15_000].astype(float)
        share = np.sqrt((heard**2).mean() * 2) / LOUD
        tone = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))).argmax() * 16_000 / len(heard)
        told = f"{tone:.0f} Hz" if share > 0.9 else "nothing" if share < 0.02 else f"{share:.2f} of it"
        print(f"{name} {version(name)}, {pitch} Hz: {told}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
sed 's/^\([a-z]*\) [^,]*,/\1,/' seen | diff - <(
  for pitch in 1000 7000; do
    printf "%s, $pitch Hz: $pitch Hz\n" wyoming soxr av
  done
  for pair in 9000:7000 10000:6000 15000:1000; do
    printf '%s\n' "wyoming, ${pair%:*} Hz: ${pair#*:} Hz" "soxr, ${pair%:*} Hz: nothing" "av, ${pair%:*} Hz: nothing"
  done
)
