#!/usr/bin/env bash
# num2words 0.5.14, by which programs that speak write numbers as words: a number between 0 and -1 loses its sign. -0.5 is
# "zero point five", and so said as warmth where there is frost and as a gain where there is a loss; -1.5 has its "minus".
# It is so in eleven of the twelve other languages here, with float, Decimal and text alike, and nothing is said of it.
# The way out is to take the sign off and to say it oneself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check num2words==0.5.14
cat > run.py <<'PY'
from decimal import Decimal
from importlib.metadata import version

from num2words import num2words

for number in (-1.5, -0.5, Decimal("-0.5"), "-0.5", -0.04):
    print(f"num2words {version('num2words')}, {number!r}: {num2words(number)}")
lost = []
for language in ("de", "es", "fr", "it", "pt", "nl", "sv", "da", "pl", "ru", "ja", "tr"):
    lost += [language] * (num2words(-0.5, lang=language) == num2words(0.5, lang=language))
print(f"-0.5 is said as 0.5 in {' '.join(lost)}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^num2words [0-9.]*, //' seen) - <<'SEEN'
-1.5: minus one point five
-0.5: zero point five
Decimal('-0.5'): zero point five
'-0.5': zero point five
-0.04: zero point zero four
-0.5 is said as 0.5 in de es fr pt nl sv da pl ru ja tr
SEEN
