#!/usr/bin/env bash
# datasets 5.2.0: class_encode_column() of a DatasetDict counts the labels of each split by itself. Where a split lacks one
# (a small test, a rare class), each label after it has another number there than in training, and a model that is right
# every time scores nothing. And whole numbers are sorted as words: of the grades 0 to 10 the 2 becomes 3 and the 10
# becomes 2, so that what was a scale is none. Nothing is said of either; a ClassLabel given to cast_column() has one
# list of names for all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0
cat > run.py <<'PY'
import warnings

from datasets import ClassLabel, Dataset, DatasetDict, __version__
from datasets.utils.logging import disable_progress_bar

disable_progress_bar()
train = ["bird", "cat", "dog", "fox"]
test = ["cat", "dog", "fox"]
splits = DatasetDict(train=Dataset.from_dict({"label": train}), test=Dataset.from_dict({"label": test}))
with warnings.catch_warnings(record=True) as warned:
    counted = splits.class_encode_column("label")
    named = splits.cast_column("label", ClassLabel(names=train))
    grades = Dataset.from_dict({"grade": list(range(11))}).class_encode_column("grade")
for name, made in (("class_encode_column()", counted), ("cast_column()", named)):
    for split in ("train", "test"):
        numbers = dict(zip(splits[split]["label"], made[split]["label"]))
        print(f"datasets {__version__}, {name}, {split}: {numbers}")
print(f"datasets {__version__}, grades 0 to 10: {list(grades['grade'])}, {len(warned)} warnings")
PY
HF_HUB_OFFLINE=1 env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^datasets [0-9.]*, //' seen) - <<'SEEN'
class_encode_column(), train: {'bird': 0, 'cat': 1, 'dog': 2, 'fox': 3}
class_encode_column(), test: {'cat': 0, 'dog': 1, 'fox': 2}
cast_column(), train: {'bird': 0, 'cat': 1, 'dog': 2, 'fox': 3}
cast_column(), test: {'cat': 1, 'dog': 2, 'fox': 3}
grades 0 to 10: [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2], 0 warnings
SEEN
