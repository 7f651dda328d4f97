#!/usr/bin/env bash
# datasketch 2.0.0: bBitMinHash keeps the lowest bits of a MinHash, so that near duplicates are found in little memory.
# Its argument r is documented as the ratio of a set's size to that of the universe of all values, for the estimate to
# be right. Given as documented it makes the estimate wrong: two documents of 1,000 words each from a vocabulary of
# 2,000, r=0.5, that share nothing are 0.26 alike at one bit, and two that are a third alike 0.47. Left at 0, which the
# documentation has for where one does not know, it is right to what chance leaves, and so is the whole MinHash. The
# paper's formula is for permutations of the vocabulary itself; this library hashes into 2 to the 32nd places, of which
# any vocabulary is next to nothing, so that no document has another r than 0. No warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasketch==2.0.0
cat > run.py <<'PY'
from functools import cache
from importlib.metadata import version
from statistics import mean

from datasketch import MinHash, bBitMinHash

PAIRS = 20


def sketch(seed, first, last):
    """Of the words first to last of a vocabulary of 2,000; each pair has a vocabulary and permutations of its own."""
    whole = MinHash(num_perm=256, seed=seed)
    whole.update_batch([f"word {seed} {number}".encode() for number in range(first, last)])
    return whole


@cache
def sketches(shared):
    return [(sketch(seed, 0, 1000), sketch(seed, 1000 - shared, 2000 - shared)) for seed in range(1, PAIRS + 1)]


def likeness(shared, bits, r):
    pairs = sketches(shared)
    if bits is None:
        return mean(one.jaccard(other) for one, other in pairs)
    return mean(bBitMinHash(one, bits, r).jaccard(bBitMinHash(other, bits, r)) for one, other in pairs)


print(f"datasketch {version('datasketch')}, each set half of its vocabulary, mean of {PAIRS} pairs")
for shared, truth in ((0, 0.0), (500, 1 / 3), (1000, 1.0)):
    print(f"likeness {truth:.2f}: whole {likeness(shared, None, 0):.2f}", end="")
    for bits in (1, 2):
        print(f"; {bits} bit, r=0 {likeness(shared, bits, 0):+.2f}, r=0.5 {likeness(shared, bits, 0.5):+.2f}", end="")
    print()
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
likeness 0.00: whole 0.00; 1 bit, r=0 +0.01, r=0.5 +0.26; 2 bit, r=0 +0.01, r=0.5 +0.20
likeness 0.33: whole 0.32; 1 bit, r=0 +0.30, r=0.5 +0.47; 2 bit, r=0 +0.32, r=0.5 +0.45
likeness 1.00: whole 1.00; 1 bit, r=0 +1.00, r=0.5 +1.00; 2 bit, r=0 +1.00, r=0.5 +1.00
SEEN
)
