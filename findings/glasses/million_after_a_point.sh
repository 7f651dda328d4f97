#!/usr/bin/env bash
# text2num 3.1.0 and word2number 1.1, which write figures for the numbers that were spoken: both read "seven point five"
# as 7.5 and both read "two million". "Seven point five million" is "7.5 1000000" by the one and 7 by the other, so that a
# transcript has two numbers or a number a million times too small. word2number adds up what stands side by side: a house
# number "one two three" is 5, "five out of ten" is 15, "nineteen eighty four" is 1524, and "minus five" is 5. No error
# in any of them, though it refuses "one hundred thousand two million" as malformed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check text2num==3.1.0 word2number==1.1
cat > run.py <<'PY'
from importlib.metadata import version

from text_to_num import alpha2digit
from word2number import w2n

print(" and ".join(f"{name} {version(name)}" for name in ("text2num", "word2number")))
for text in ("seven point five", "two million", "seven point five million", "one two three", "five out of ten",
             "nineteen eighty four", "minus five"):
    print(f"{text}: text2num {alpha2digit(text, 'en')}, word2number {w2n.word_to_num(text)}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(tail -n +2 seen) - <<'SEEN'
seven point five: text2num 7.5, word2number 7.5
two million: text2num 2000000, word2number 2000000
seven point five million: text2num 7.5 1000000, word2number 7
one two three: text2num 1 2 3, word2number 5
five out of ten: text2num 5 out of 10, word2number 15
nineteen eighty four: text2num 19 84, word2number 1524
minus five: text2num minus 5, word2number 5
SEEN
