#!/usr/bin/env bash
# datasketch 2.0.0, with which distinct documents, users and n-grams are counted in little memory: a HyperLogLog with a
# hash function of one's own, for speed or to agree with another program, loses it in pickle and copy.deepcopy, as it
# goes to another process, comes back from one, or is kept in a checkpoint. What is left is the count so far and SHA-1
# for all that comes, so that each thing seen before is counted again: of 5,000 words counted twice there are some 10,000.
# HyperLogLogPlusPlus does the same. Nothing is said; the count right after the copy is right, merge() takes
# sketches of different hashes, the method copy() keeps the function, and a MinHash keeps it in all three.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasketch==2.0.0 numpy==2.4.6 scipy==1.17.1
cat > run.py <<'PY'
import copy
import hashlib
import pickle
from importlib.metadata import version

from datasketch import HyperLogLog, HyperLogLogPlusPlus, MinHash

WORDS = [f"word {number}".encode() for number in range(5000)]
COPIES = {
    "copy()": lambda sketch: sketch.copy(),
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda sketch: pickle.loads(pickle.dumps(sketch)),
}


def blake_32(data):
    return int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "little")


def blake_64(data):
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def seen_again(sketch):
    for word in WORDS:
        sketch.update(word)
    return f"{sketch.count() / len(WORDS):.1f}"


print(f"datasketch {version('datasketch')}")
for kind, function in ((HyperLogLog, blake_32), (HyperLogLogPlusPlus, blake_64)):
    original = kind(p=12, hashfunc=function)
    print(f"{kind.__name__}: {seen_again(original)} of the words are counted")
    for name, copied in COPIES.items():
        print(f"{kind.__name__} by {name}, the same words again: {seen_again(copied(original))}")
kept = [copied(MinHash(hashfunc=blake_32)).hashfunc.__name__ for copied in COPIES.values()]
print(f"MinHash: {' '.join(kept)}")
PY
env/bin/python -W ignore run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c 'counted$\|copy(), .*again: 1.0$' seen)" = 4 ]
[ "$(grep -c 'by copy.deepcopy, .*again: 2.[01]$\|by pickle, .*again: 2.[01]$' seen)" = 4 ]
grep -qx 'MinHash: blake_32 blake_32 blake_32' seen
