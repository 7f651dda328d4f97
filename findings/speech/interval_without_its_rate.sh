#!/usr/bin/env bash
# pyannote.metrics 4.2.0, by which it is measured who spoke when: abs(metric) and the last line of report() are the
# error of all recordings together, each second counting alike. confidence_interval() of the same metric, documented as
# one on the accumulated values, takes each recording's rate alike, however long it is. With one recording of an hour at
# 2 % and nine of ten seconds around 34 % the rate is 2.3 % and its interval for 90 % goes from 11.6 to 17.6 %, so that
# the rate it is for lies far outside. The same recordings cut into equal pieces of ten seconds give an interval around
# the rate. Two systems compared by it may stand the other way round than by the rate. No warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --no-compile --quiet --disable-pip-version-check pyannote.metrics==4.2.0
cat > run.py <<'PY'
from importlib.metadata import version

from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate


def annotation(*parts):
    made = Annotation()
    for number, (start, end, speaker) in enumerate(parts):
        made[Segment(start, end), number] = speaker
    return made


def recording(seconds, wrong):
    """Two speakers for half of the time each; of the second one's, a share of the whole is given to a third."""
    half, cut = seconds / 2, seconds * (1 - wrong)
    said = annotation((0, half, "A"), (half, seconds, "B"))
    return said, annotation((0, half, "A"), (half, cut, "B"), (cut, seconds, "C"))


def told(name, recordings):
    metric = DiarizationErrorRate()
    for seconds, wrong in recordings:
        metric(*recording(seconds, wrong))
    _, (lower, upper) = metric.confidence_interval(0.9)
    inside = "inside" if lower <= abs(metric) <= upper else "outside"
    print(f"{name}: rate {100 * abs(metric):.1f} %, interval {100 * lower:.1f} to {100 * upper:.1f} %, {inside}")


SHORT = [(10, 0.30 + 0.01 * step) for step in range(9)]
print(f"pyannote.metrics {version('pyannote.metrics')}")
told("an hour and nine of ten seconds", [(3600, 0.02), *SHORT])
told("cut into pieces of ten seconds", [*[(10, 0.02)] * 360, *SHORT])
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | diff - <(cat <<'SEEN'
an hour and nine of ten seconds: rate 2.3 %, interval 11.6 to 17.6 %, outside
cut into pieces of ten seconds: rate 2.3 %, interval 2.2 to 2.5 %, inside
SEEN
)
