#!/usr/bin/env bash
# whisper_normalizer 0.1.15, the English rules by which word error rates of speech models are published: numbers become
# figures, and what stands at them is then dropped by rules that look at single signs. A minus of figures goes ("-5" is
# "5"), while "minus five" keeps it and so is another thing than "-5". With the number 1 the unit goes: "$1", "1%" and
# "one cent" are all "one", and 0.1 becomes "0 one". So a transcript that lost sign, currency or per cent has no error,
# one that has the time as 3:30 for "three thirty" has two, and none of it is seen in a rate, for both sides are changed
# alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check whisper_normalizer==0.1.15 jiwer==4.0.0
cat > run.py <<'PY'
from importlib.metadata import version

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

PAIRS = [
    ("it is -5 degrees", "it is 5 degrees"),
    ("it is minus five degrees", "it is -5 degrees"),
    ("it costs $1 a day", "it costs 1 a day"),
    ("it costs $2 a day", "it costs 2 a day"),
    ("it fell by 1%", "it fell by 1"),
    ("it fell by 2%", "it fell by 2"),
    ("take 0.1 grams", "take 0 1 grams"),
    ("take 0.2 grams", "take 0 2 grams"),
    ("at three thirty", "at 3:30"),
]
clean = EnglishTextNormalizer()
for said, heard in PAIRS:
    sides = clean(said), clean(heard)
    errors = round(jiwer.wer(*sides) * len(sides[0].split()))
    print(f"whisper_normalizer {version('whisper_normalizer')}, {said} / {heard}: {errors} errors ({' / '.join(sides)})", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
it is -5 degrees / it is 5 degrees: 0 errors (it is 5 degrees / it is 5 degrees)
it is minus five degrees / it is -5 degrees: 1 errors (it is -5 degrees / it is 5 degrees)
it costs $1 a day / it costs 1 a day: 0 errors (it costs one a day / it costs one a day)
it costs $2 a day / it costs 2 a day: 1 errors (it costs $2 a day / it costs 2 a day)
it fell by 1% / it fell by 1: 0 errors (it fell by one  / it fell by one)
it fell by 2% / it fell by 2: 1 errors (it fell by 2% / it fell by 2)
take 0.1 grams / take 0 1 grams: 0 errors (take 0 one grams / take 0 one grams)
take 0.2 grams / take 0 2 grams: 2 errors (take 0.2 grams / take 0 2 grams)
at three thirty / at 3:30: 2 errors (at 330 / at 3 30)
SEEN
