#!/usr/bin/env bash
# pycron 3.3.0, with which services ask at each minute whether a job of a cron table is due: what it cannot read is
# never due, instead of an error. Sunday as 7, which cron knows beside 0, never comes, so that "5-7" and "fri-sun" are a
# weekend without its Sunday, while "sun" and 0 are read; names of months never come, though names of days do, and
# neither do steps from a place on (5/15) nor a typing error ("wedd"). A job so runs on some of its days or on none, and
# nobody is told. An expression with four or six fields raises ValueError, so that one takes those for checked that do
# not. croniter 7.0.0 has all of them due, and refuses the error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pycron==3.3.0 croniter==7.0.0
cat > run.py <<'PY'
from datetime import datetime
from importlib.metadata import version

import pycron
from croniter import CroniterError, croniter

FRIDAY, SUNDAY, WEDNESDAY = datetime(2026, 2, 27, 9, 20), datetime(2026, 3, 1, 9, 20), datetime(2026, 3, 4, 9, 20)
CASES = [("* * * * 7", SUNDAY), ("* * * * 0", SUNDAY), ("* * * * sun", SUNDAY), ("* * * * 5-7", SUNDAY)]
CASES += [("* * * * 5-7", FRIDAY), ("* * * * fri-sun", SUNDAY), ("* * * * fri-sun", FRIDAY), ("* * 1 mar *", SUNDAY)]
CASES += [("* * 1 3 *", SUNDAY), ("5/15 * * * *", SUNDAY), ("5-59/15 * * * *", SUNDAY), ("* * * * wedd", WEDNESDAY)]


def told(due, expression, moment):
    try:
        return "due" if due(expression, moment) else "not due"
    except (ValueError, CroniterError):
        return "refused"


print(f"pycron {version('pycron')}, croniter {version('croniter')}")
for expression, moment in CASES:
    print(f"{expression}, {moment:%a %b %d %H:%M}: {told(pycron.is_now, expression, moment)},", end=" ")
    print(told(croniter.match, expression, moment))
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
* * * * 7, Sun Mar 01 09:20: not due, due
* * * * 0, Sun Mar 01 09:20: due, due
* * * * sun, Sun Mar 01 09:20: due, due
* * * * 5-7, Sun Mar 01 09:20: not due, due
* * * * 5-7, Fri Feb 27 09:20: due, due
* * * * fri-sun, Sun Mar 01 09:20: not due, due
* * * * fri-sun, Fri Feb 27 09:20: due, due
* * 1 mar *, Sun Mar 01 09:20: not due, due
* * 1 3 *, Sun Mar 01 09:20: due, due
5/15 * * * *, Sun Mar 01 09:20: not due, due
5-59/15 * * * *, Sun Mar 01 09:20: due, due
* * * * wedd, Wed Mar 04 09:20: not due, refused
SEEN
)
