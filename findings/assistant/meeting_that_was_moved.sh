#!/usr/bin/env bash
# ical 14.3.1, by which programs of the house and assistants read calendars: its timeline lays a repeated event out, but an
# event that takes the place of one occurrence (RECURRENCE-ID, as every calendar writes it when somebody moves one
# meeting) is added to the rest: the meeting is at the old hour and at the new one, one that was cancelled stands
# there as before, beside its cancellation, and "this and all after" moves one alone. Of an event whose further days are listed
# (RDATE) its own first day is gone, though RFC 5545 has DTSTART as the first of the set. Days that are taken out by EXDATE,
# changes of the clock, the last of a month and the rest of rules are right, and two rules at once are refused, so
# that one takes it for complete. Nothing is said. recurring-ical-events 3.8.2 has them right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ical==14.3.1 recurring-ical-events==3.8.2 icalendar==7.3.2
cat > run.py <<'PY'
import warnings
from datetime import datetime, timezone
from importlib.metadata import version

import icalendar
import recurring_ical_events
from ical.calendar_stream import IcsCalendarStream

HEAD = "BEGIN:VCALENDAR|VERSION:2.0|PRODID:-//example//EN|"
EVENT = "BEGIN:VEVENT|UID:one|DTSTAMP:20260101T000000Z|{}|SUMMARY:talk|END:VEVENT|"
FIRST = "DTSTART:20260601T090000Z|DURATION:PT1H"
DAILY = FIRST + "|RRULE:FREQ=DAILY;COUNT=3"
MOVED = "RECURRENCE-ID{}:20260602T090000Z|DTSTART:20260602T150000Z|DURATION:PT1H"
CASES = {
    "daily": [DAILY],
    "one taken out": [DAILY + "|EXDATE:20260602T090000Z"],
    "one moved": [DAILY, MOVED.format("")],
    "one cancelled": [DAILY, "RECURRENCE-ID:20260602T090000Z|DTSTART:20260602T090000Z|STATUS:CANCELLED"],
    "all after moved": [DAILY, MOVED.format(";RANGE=THISANDFUTURE")],
    "days listed": [FIRST + "|RDATE:20260604T090000Z,20260605T090000Z"],
}
FROM, TO = datetime(2026, 5, 1, tzinfo=timezone.utc), datetime(2026, 7, 1, tzinfo=timezone.utc)
print(f"ical {version('ical')}, recurring-ical-events {version('recurring-ical-events')}")
for name, events in CASES.items():
    text = (HEAD + "".join(map(EVENT.format, events)) + "END:VCALENDAR|").replace("|", "\r\n")
    with warnings.catch_warnings(record=True) as warned:
        timeline = IcsCalendarStream.calendar_from_ics(text).timeline_tz(timezone.utc)
        by_ical = [event.dtstart for event in timeline.overlapping(FROM, TO)]
    found = recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(FROM, TO)
    for library, starts in (("ical", by_ical), ("recurring-ical-events", [event.start for event in found])):
        told = ", ".join(f"{start:%d at %H}" for start in sorted(starts))
        print(f"{name}, {library}: {told}; {len(warned)} warnings", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep ', ical' seen | diff - <(cat <<'SEEN'
daily, ical: 01 at 09, 02 at 09, 03 at 09; 0 warnings
one taken out, ical: 01 at 09, 03 at 09; 0 warnings
one moved, ical: 01 at 09, 02 at 09, 02 at 15, 03 at 09; 0 warnings
one cancelled, ical: 01 at 09, 02 at 09, 02 at 09, 03 at 09; 0 warnings
all after moved, ical: 01 at 09, 02 at 09, 02 at 15, 03 at 09; 0 warnings
days listed, ical: 04 at 09, 05 at 09; 0 warnings
SEEN
)
