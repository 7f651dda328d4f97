#!/usr/bin/env bash
# sphn 0.2.1, by which programs for spoken conversation read, write and resample sound: resample() gives the sound late and
# too long. A click at 1.000 s is at 1.021 s after 24 kHz were brought to 16, at 1.011 s from 48, at 1.064 s from 8 kHz to
# 16, each rate its own delay; silence was put before it and the end filled up to whole blocks of the resampler, so that
# 20 ms become 43. read(sample_rate=...) of a file does the same. Two channels that came by different rates are so apart,
# word times of a transcript are late, and sound that is resampled in pieces has a gap at each seam. Nothing is said, and equal
# rates change nothing. soxr 1.1.0 gives the click where it was, and the right length.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check sphn==0.2.1 soxr==1.1.0 numpy==2.4.6
cat > run.py <<'PY'
from importlib.metadata import version

import numpy as np
import soxr
import sphn


def told(sound, rate):
    return f"click at {np.abs(sound).argmax() / rate:.3f} s of {len(sound) / rate:.3f} s"


print(f"sphn {version('sphn')}, soxr {version('soxr')}")
for source, rate in ((24000, 16000), (48000, 16000), (16000, 24000), (8000, 16000), (16000, 16000)):
    sound = np.zeros(2 * source, np.float32)
    sound[source] = 0.9
    print(f"{source} to {rate}, sphn: {told(sphn.resample(sound[None], source, rate)[0], rate)}")
    print(f"{source} to {rate}, soxr: {told(soxr.resample(sound, source, rate), rate)}", flush=True)
    if (source, rate) == (24000, 16000):
        sphn.write_wav("click.wav", sound, source)
        read, _ = sphn.read("click.wav", sample_rate=rate)
        print(f"read as {rate}, sphn: {told(read[0], rate)}")
piece = np.zeros((1, 480), np.float32)
print(f"20 ms of 24000 become {sphn.resample(piece, 24000, 16000).shape[1] / 16:.1f} ms")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
test "$(grep -c 'soxr: click at 1.000 s of 2.000 s' seen)" = 5
grep sphn: seen | diff - <(cat <<'SEEN'
24000 to 16000, sphn: click at 1.021 s of 2.009 s
read as 16000, sphn: click at 1.021 s of 2.009 s
48000 to 16000, sphn: click at 1.011 s of 2.009 s
16000 to 24000, sphn: click at 1.032 s of 2.048 s
8000 to 16000, sphn: click at 1.064 s of 2.048 s
16000 to 16000, sphn: click at 1.000 s of 2.000 s
SEEN
)
grep -qx '20 ms of 24000 become 42.8 ms' seen
