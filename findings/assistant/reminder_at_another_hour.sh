#!/usr/bin/env bash
# dateparser 1.5.0, by which assistants read when something is to be: an hour without "am", "pm" or ":00" after a day is
# dropped, though the rest is read. "tomorrow at 8" is tomorrow at the minute at which one asks, so right in one of a
# day's 1,440; with a weekday the hour is a month or a day of one: "saturday at 10" is the tenth of October. What
# stands before a word of time is dropped too ("an hour before noon" is noon, "2 days from tomorrow" is
# tomorrow), as is the half of 2½ hours. Much that it does not know gives None ("next friday at 8"), and 1.5 hours and
# "8pm" are right, so one takes what is not None for understood. STRICT_PARSING refuses the weekdays alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check dateparser==1.5.0
cat > run.py <<'PY'
import warnings
from datetime import datetime

import dateparser

NOW = datetime(2026, 6, 10, 14, 37)
SAID = """tomorrow at 8pm|tomorrow at 8:00|tomorrow at 8|in 3 days at 8|today at 17|tonight at 8|saturday at 10 am|saturday at 10
next friday at 8|in 1.5 hours|in 2½ hours|in 2 hours 15|noon|an hour before noon|2 days from tomorrow"""
print(f"dateparser {dateparser.__version__}, asked on {NOW:%A, %d %B, %H:%M}")
for said in SAID.replace("\n", "|").split("|"):
    times = []
    with warnings.catch_warnings(record=True) as warned:
        for strict in (False, True):
            rules = {"RELATIVE_BASE": NOW, "PREFER_DATES_FROM": "future", "STRICT_PARSING": strict}
            time = dateparser.parse(said, languages=["en"], settings=rules)
            times.append(f"{time:%d %b %H:%M}" if time else "None")
    print(f"{said} = {times[0]}, strict {times[1]}, {len(warned)} warnings", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | diff - <(cat <<'SEEN'
tomorrow at 8pm = 11 Jun 20:00, strict 11 Jun 20:00, 0 warnings
tomorrow at 8:00 = 11 Jun 08:00, strict 11 Jun 08:00, 0 warnings
tomorrow at 8 = 11 Jun 14:37, strict 11 Jun 14:37, 0 warnings
in 3 days at 8 = 13 Jun 14:37, strict 13 Jun 14:37, 0 warnings
today at 17 = 10 Jun 14:37, strict 10 Jun 14:37, 0 warnings
tonight at 8 = 10 Jun 14:37, strict 10 Jun 14:37, 0 warnings
saturday at 10 am = 13 Jun 10:00, strict None, 0 warnings
saturday at 10 = 10 Oct 00:00, strict None, 0 warnings
next friday at 8 = None, strict None, 0 warnings
in 1.5 hours = 10 Jun 16:07, strict 10 Jun 16:07, 0 warnings
in 2½ hours = 10 Jun 16:37, strict 10 Jun 16:37, 0 warnings
in 2 hours 15 = 10 Jun 16:37, strict 10 Jun 16:37, 0 warnings
noon = 11 Jun 12:00, strict None, 0 warnings
an hour before noon = 10 Jun 12:00, strict 10 Jun 12:00, 0 warnings
2 days from tomorrow = 11 Jun 14:37, strict 11 Jun 14:37, 0 warnings
SEEN
)
