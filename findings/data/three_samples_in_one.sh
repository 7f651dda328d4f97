#!/usr/bin/env bash
# webdataset 1.0.2: TarWriter takes any __key__, and WebDataset reads back another one if there is a point in it. What
# stands before the first point of the name is the key, the rest is the field. Keys of pages, versions or times
# ("en.wikipedia", "3.10", "12.5s") so come back cut, and samples that follow each other and are equal up to the point
# are one: of three the loader gives one, whose fields are called 10.txt, 11.txt and 12.txt. A pipeline that maps "txt"
# then stops or, where it passes over samples without that field, goes on with nothing. Writer and reader say nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check webdataset==1.0.2 numpy==2.3.5
cat > run.py <<'PY'
import warnings
from importlib.metadata import version

import webdataset as wds

for keys in (["page-10", "page-11", "page-12"], ["3.10", "3.11", "3.12"], ["a.org", "b.org"], ["a.org/x", "a.org/y"]):
    with warnings.catch_warnings(record=True) as warned:
        with wds.TarWriter("a.tar") as writer:
            for key in keys:
                writer.write({"__key__": key, "txt": f"text of {key}"})
        samples = list(wds.WebDataset("a.tar", shardshuffle=False))
    back = {s["__key__"]: sorted(name for name in s if not name.startswith("__")) for s in samples}
    print(f"webdataset {version('webdataset')}, written {keys}, read {back}, "
          f"{sum('txt' in s for s in samples)} of {len(keys)} texts, {len(warned)} warnings")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^webdataset [0-9.]*, //' seen) - <<'SEEN'
written ['page-10', 'page-11', 'page-12'], read {'page-10': ['txt'], 'page-11': ['txt'], 'page-12': ['txt']}, 3 of 3 texts, 0 warnings
written ['3.10', '3.11', '3.12'], read {'3': ['10.txt', '11.txt', '12.txt']}, 0 of 3 texts, 0 warnings
written ['a.org', 'b.org'], read {'a': ['org.txt'], 'b': ['org.txt']}, 0 of 2 texts, 0 warnings
written ['a.org/x', 'a.org/y'], read {'a.org/x': ['txt'], 'a.org/y': ['txt']}, 2 of 2 texts, 0 warnings
SEEN
