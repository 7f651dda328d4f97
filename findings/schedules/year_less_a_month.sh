#!/usr/bin/env bash
# isodate 0.7.2, by which clients of clouds and readers of linked data handle durations (ISO 8601): a difference of two is
# a Duration whose parts may have different signs, a year less a month is years=1, months=-1. duration_isoformat() puts
# one minus before the whole where any part is negative, and writes each part without its own: -P1Y1M. Eleven months
# ahead are thirteen months back when it is read again, so that a retention, a deadline or the end of a key lies in
# the past. Nothing is said; to a date the same object is added rightly, and differences of days and hours are right.
# Two durations that are equal, P1Y and P12M, are two in a set and two keys of a dictionary: their hashes differ.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check isodate==0.7.2
cat > run.py <<'PY'
from datetime import date
from importlib.metadata import version

from isodate import duration_isoformat, parse_duration

START = date(2026, 1, 1)
print(f"isodate {version('isodate')}")
for longer, shorter in (("P1Y", "P1M"), ("P1M", "P1D"), ("P2D", "PT1H"), ("P1M", "P1Y")):
    rest = parse_duration(longer) - parse_duration(shorter)
    text = duration_isoformat(rest)
    print(f"{longer} less {shorter}: {START + rest}, written {text}, read again {START + parse_duration(text)}")
year, months = parse_duration("P1Y"), parse_duration("P12M")
print(f"P1Y == P12M is {year == months}; a set of both holds {len({year, months})}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | diff - <(cat <<'SEEN'
P1Y less P1M: 2026-12-01, written -P1Y1M, read again 2024-12-01
P1M less P1D: 2026-01-31, written -P1M1D, read again 2025-11-30
P2D less PT1H: 2026-01-02, written P1DT23H, read again 2026-01-02
P1M less P1Y: 2025-02-01, written -P1Y1M, read again 2024-12-01
P1Y == P12M is True; a set of both holds 2
SEEN
)
