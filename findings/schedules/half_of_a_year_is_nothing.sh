#!/usr/bin/env bash
# pendulum 3.3.0: a duration of years and months times a fraction is no duration at all. duration(years=1) * 0.5 is
# nothing, duration(months=1) * 1.5 is nothing, and of a year and ten days half is five days: what is years and months
# is dropped, what is weeks to microseconds is halved. Divided by a whole number each of the two is rounded to a whole
# by itself, halves to the even one: half of a year is nothing, half of three months is two, of a year and a half three
# months. So a retention that is to be halved, a warning at half of a licence's time or a wait that grows by 1.5 falls
# on the first day, without an error or a warning. Times a whole number it is right, and total_days() of the same
# duration gives 365 and 30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pendulum==3.3.0
cat > run.py <<'PY'
from importlib.metadata import version

from pendulum import datetime, duration

START = datetime(2026, 1, 1)
CASES = {
    "a year * 0.5": duration(years=1) * 0.5,
    "a month * 1.5": duration(months=1) * 1.5,
    "a year and 10 days * 0.5": duration(years=1, days=10) * 0.5,
    "a year / 2": duration(years=1) / 2,
    "three months / 2": duration(months=3) / 2,
    "a year and a half / 2": duration(years=1, months=6) / 2,
    "twelve months / 2": duration(months=12) / 2,
    "a month * 2": duration(months=1) * 2,
    "30 days * 1.5": duration(days=30) * 1.5,
}
print(f"pendulum {version('pendulum')}")
for name, value in CASES.items():
    print(f"{name}: {value.total_days():g} days, after {START.to_date_string()} comes {(START + value).to_date_string()}")
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
a year * 0.5: 0 days, after 2026-01-01 comes 2026-01-01
a month * 1.5: 0 days, after 2026-01-01 comes 2026-01-01
a year and 10 days * 0.5: 5 days, after 2026-01-01 comes 2026-01-06
a year / 2: 0 days, after 2026-01-01 comes 2026-01-01
three months / 2: 60 days, after 2026-01-01 comes 2026-03-01
a year and a half / 2: 90 days, after 2026-01-01 comes 2026-04-01
twelve months / 2: 180 days, after 2026-01-01 comes 2026-07-01
a month * 2: 60 days, after 2026-01-01 comes 2026-03-01
30 days * 1.5: 45 days, after 2026-01-01 comes 2026-02-15
SEEN
)
