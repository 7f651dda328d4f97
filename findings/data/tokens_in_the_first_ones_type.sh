#!/usr/bin/env bash
# litdata 0.2.76: optimize() writes arrays of one dimension, as token ids are, without a head: only their bytes, and the
# type of the first sample once for all. A later sample of another integer type (ids of one tokenizer as int32, those of
# another, or of torch.tensor(list), as int64) is read back by the first one's type: three ids are six, every second
# one 0, and in the other order two ids are one huge one. Where the first document is empty, torch.tensor([]) is
# float32, and every id after it is a tiny fraction. No error or warning, at writing or reading. A Python number of
# another type than the first is refused, and arrays of two dimensions keep their own type, so one takes types for checked.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check litdata==0.2.76 torch==2.13.0
cat > run.py <<'PY'
import litdata
import torch

narrow, wide = torch.int32, torch.int64
CASES = {
    "int32, then int64": [torch.tensor([11, 12, 13], dtype=narrow), torch.tensor([21, 22, 23], dtype=wide)],
    "int64, then int32": [torch.tensor([11, 12, 13], dtype=wide), torch.tensor([21, 22], dtype=narrow)],
    "empty, then ids": [torch.tensor([]), torch.tensor([21, 22])],
    "two dimensions": [torch.tensor([[11, 12]], dtype=narrow), torch.tensor([[21, 22]], dtype=wide)],
    "a number": [1, 2.5],
}


def sample(name_and_place):
    name, place = name_and_place
    return {"ids": CASES[name][place]}


if __name__ == "__main__":
    for number, name in enumerate(CASES):
        given, out = CASES[name][1], f"out{number}"
        try:
            litdata.optimize(sample, [(name, 0), (name, 1)], out, chunk_bytes="1MB", num_workers=1)
            read = litdata.StreamingDataset(out, shuffle=False)[1]["ids"]
        except Exception:  # noqa: BLE001 (whichever: it is refused)
            read = "refused"
        given, read = (x.tolist() if isinstance(x, torch.Tensor) else x for x in (given, read))
        print(f"SEEN litdata {litdata.__version__}, {name}: {given} is read as {read}", flush=True)
PY
HOME="$folder" env/bin/python run.py >log 2>&1 || { tail -5 log; exit 1; }
grep -a '^SEEN' log | tee seen
if grep -aiE 'dtype|differ' log; then exit 1; fi
diff <(sed 's/^SEEN litdata [^,]*, //' seen) - <<'SEEN'
int32, then int64: [21, 22, 23] is read as [21, 0, 22, 0, 23, 0]
int64, then int32: [21, 22] is read as [94489280533]
empty, then ids: [21, 22] is read as [2.942726775082116e-44, 0.0, 3.0828566215145976e-44, 0.0]
two dimensions: [[21, 22]] is read as [[21, 22]]
a number: 2.5 is read as refused
SEEN
