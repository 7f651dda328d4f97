#!/usr/bin/env bash
# humanfriendly 10.0, by which tools read sizes from settings and command lines: parse_size() gives bytes and, of a unit
# that it does not know, looks at the first letter alone. "400 Gbit", "100 Mbit" and "10 bits", as lines between machines
# are sold and measured, so are as many bytes, eight times too much; "5 min" is five million bytes and "3 tokens" three
# times ten to the twelfth. A unit whose letter it does not know ("5 x", "1.5h") raises InvalidSize, so that one takes
# sizes for checked. Pint 0.25.3 makes bytes of bits, and refuses what is no size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check humanfriendly==10.0 pint==0.25.3
cat > run.py <<'PY'
from importlib.metadata import version

import pint
from humanfriendly import InvalidSize, parse_size

UNITS = pint.UnitRegistry()


def by_humanfriendly(text):
    try:
        return f"{parse_size(text):,}"
    except InvalidSize:
        return "refused"


def by_pint(text):
    try:
        return f"{round(UNITS.Quantity(text).to('byte').magnitude, 2):,}"
    except (pint.errors.PintError, ValueError):
        return "refused"


print(f"humanfriendly {version('humanfriendly')}, pint {version('pint')}: bytes")
for text in ("400 Gbyte", "400 Gbit", "100 Mbit", "10 bits", "5 min", "3 tokens", "5 x", "1.5h"):
    print(f"{text}: {by_humanfriendly(text)}, {by_pint(text)}")
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
400 Gbyte: 400,000,000,000, 400,000,000,000.0
400 Gbit: 400,000,000,000, 50,000,000,000.0
100 Mbit: 100,000,000, 12,500,000.0
10 bits: 10, 1.25
5 min: 5,000,000, refused
3 tokens: 3,000,000,000,000, refused
5 x: refused, refused
1.5h: refused, refused
SEEN
)
