#!/usr/bin/env bash
# datasets 5.2.0: of what the function of Dataset.map() gives for a row, and what the generator of from_generator() gives,
# only the keys are kept that the first row of each 1,000 has. A flag that is set for some rows, the note of a message, a
# score that not all have is gone for all of them, without a word; a note that only the first row has not makes no
# difference to one that none has. The same function over an IterableDataset, and the same rows as a file of JSON lines,
# keep them and put None elsewhere. Where a later row lacks a key of the first an error is raised, so that one takes rows
# of different keys for checked. features= that name the key bring the column back, with None in every row. A function
# that gives the key with None where there is nothing loses none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0
cat > run.py <<'PY'
import json
import warnings
from pathlib import Path

from datasets import Dataset, Features, IterableDataset, Value, __version__, load_dataset
from datasets.utils.logging import disable_progress_bar

disable_progress_bar()


def judge(row):
    return {"note": "long"} if row["n"] > 1 else {}


def rows():
    yield from ({"n": n, **judge({"n": n})} for n in range(4))


Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows())))
plain = Dataset.from_dict({"n": list(range(4))})
named = Features({"n": Value("int64"), "note": Value("string")})
for name, make in {
    "Dataset.map()": lambda: list(plain.map(judge)),
    "Dataset.map(features=)": lambda: list(plain.map(judge, features=named)),
    "Dataset.map(), None given": lambda: list(plain.map(lambda row: {"note": None} | judge(row))),
    "Dataset.from_generator()": lambda: list(Dataset.from_generator(rows, cache_dir="cache")),
    "IterableDataset.map()": lambda: list(plain.to_iterable_dataset().map(judge)),
    "IterableDataset.from_generator()": lambda: list(IterableDataset.from_generator(rows)),
    "JSON lines": lambda: list(load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache")),
}.items():
    with warnings.catch_warnings(record=True) as warned:
        notes = sum(row.get("note") is not None for row in make())
    print(f"datasets {__version__}, {name}: {notes} of 2 notes, {len(warned)} warnings", flush=True)
PY
HF_HUB_OFFLINE=1 HF_HOME="$folder" env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^datasets [0-9.]*, //; s/, [0-9]* warnings//' seen) - <<'SEEN'
Dataset.map(): 0 of 2 notes
Dataset.map(features=): 0 of 2 notes
Dataset.map(), None given: 2 of 2 notes
Dataset.from_generator(): 0 of 2 notes
IterableDataset.map(): 2 of 2 notes
IterableDataset.from_generator(): 2 of 2 notes
JSON lines: 2 of 2 notes
SEEN
