#!/usr/bin/env bash
# grain 0.2.18: WindowShuffleMapDataset shuffles within windows and promises that no index comes twice in one. Where the
# data do not end with a window, the last one is shuffled as if it were full, and an index beyond the end begins anew at
# the start: examples of the end are never seen, as many of the beginning are seen twice, the length is right, and
# nothing is said. With a window of 600 and 1,000 examples it is one in eight. WindowShuffleIterDataset sees each once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check grain==0.2.18
cat > run.py <<'PY'
from importlib.metadata import version

from grain import MapDataset, experimental


def shuffled(kind, count, window):
    source = MapDataset.source(range(count))
    if kind == "WindowShuffleMapDataset":
        return experimental.WindowShuffleMapDataset(source, window_size=window, seed=0)
    return experimental.WindowShuffleIterDataset(source.to_iter_dataset(), window_size=window, seed=0)


for kind in ("WindowShuffleMapDataset", "WindowShuffleIterDataset"):
    for count, window in ((1000, 100), (1000, 64), (1000, 600)):
        seen = list(shuffled(kind, count, window))
        twice = len(seen) - len(set(seen))
        print(f"grain {version('grain')}, {kind}, {count} examples, window {window}: {len(seen)} come, "
              f"{count - len(set(seen))} never, {twice} a second time", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(cut -d, -f2- seen) - <<'SEEN'
 WindowShuffleMapDataset, 1000 examples, window 100: 1000 come, 0 never, 0 a second time
 WindowShuffleMapDataset, 1000 examples, window 64: 1000 come, 14 never, 14 a second time
 WindowShuffleMapDataset, 1000 examples, window 600: 1000 come, 125 never, 125 a second time
 WindowShuffleIterDataset, 1000 examples, window 100: 1000 come, 0 never, 0 a second time
 WindowShuffleIterDataset, 1000 examples, window 64: 1000 come, 0 never, 0 a second time
 WindowShuffleIterDataset, 1000 examples, window 600: 1000 come, 0 never, 0 a second time
SEEN
