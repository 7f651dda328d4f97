#!/usr/bin/env bash
# OpenCV 5.0.0: VideoCapture.set(CAP_PROP_POS_MSEC, t) does not go to the time t. It multiplies t by the mean rate of
# the frames and goes to the frame of that number. Cameras of phones and glasses take frames at uneven times: of such a
# film the frame at 1.0 s is asked for and the one at 0.2 s comes, or none at all; in Matroska, where the rate in the
# header is not the mean, the frame at 3.1 s comes for 0.2 s. get(CAP_PROP_POS_MSEC) after a read is right, and PyAV's
# seek too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check av==18.1.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > run.py <<'PY'
from fractions import Fraction

import av
import cv2
import numpy as np

TIMES = {"uneven": (30, [0.0, 0.1, 0.2, 1.0, 1.5, 3.0, 3.1]), "even": (10, [n / 10 for n in range(32)])}


def write(name, rate, times):
    with av.open(name, "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"bf": "0"})
        stream.width, stream.height, stream.codec_context.time_base = 320, 240, Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), int(time * 80), np.uint8), format="rgb24")
            frame.pts, frame.time_base = int(time * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def by_pyav(name, time):
    with av.open(name) as film:
        film.seek(int(time * 1e6))
        return [frame.time for frame in film.decode(video=0) if frame.time <= time + 0.001][-1]


def by_opencv(name, time):
    film = cv2.VideoCapture(name)
    film.set(cv2.CAP_PROP_POS_MSEC, time * 1000)
    return film.get(cv2.CAP_PROP_POS_MSEC) / 1000 if film.read()[0] else None


for kind, ending in (("even", "mp4"), ("uneven", "mp4"), ("uneven", "mkv")):
    write(f"film.{ending}", *TIMES[kind])
    for time in (0.2, 1.0, 2.0, 3.0):
        got = [read(f"film.{ending}", time) for read in (by_pyav, by_opencv)]
        pyav, opencv = (f"the frame of {place:.1f} s" if place is not None else "no frame" for place in got)
        print(f"OpenCV {cv2.__version__}, {kind} {ending}, {time} s: {opencv}; PyAV {pyav}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c ', even .*the frame of \([0-9.]*\) s; PyAV the frame of \1 s' seen)" = 4 ]
grep -q "uneven mp4, 1.0 s: the frame of 0.2 s; PyAV the frame of 1.0 s" seen
grep -q "uneven mp4, 3.0 s: no frame; PyAV the frame of 3.0 s" seen
grep -q "uneven mkv, 0.2 s: the frame of 3.1 s; PyAV the frame of 0.2 s" seen && [ "$(grep -c 'mkv, .*: no frame' seen)" = 3 ]
