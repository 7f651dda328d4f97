#!/usr/bin/env bash
# accelerate 1.15.0: gather_for_metrics() leaves out what the last batch holds twice so that processes have equally much. It
# cuts whatever it is given to as many entries as the last batch has rows, also where an entry is no row: of one loss per
# token, or of the tokens that are no padding, nearly all of the last batch is dropped. It does so with one process
# too, where nothing is held twice, and without a warning. A data set that fits its batches, as in most tests, loses
# nothing, and every batch but the last comes whole. The mean over tokens, a perplexity, is then that of other tokens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 accelerate==1.15.0 numpy==2.3.5
cat > run.py <<'PY'
from importlib.metadata import version

import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True)
for rows in (12, 10):
    losses = torch.ones(rows, 5)
    losses[-1] = 9.0
    loader = accelerator.prepare(torch.utils.data.DataLoader(losses, batch_size=4))
    by_row = torch.cat([accelerator.gather_for_metrics(batch) for batch in loader])
    by_token = torch.cat([accelerator.gather_for_metrics(batch.flatten()) for batch in loader])
    print(
        f"accelerate {version('accelerate')}, {accelerator.num_processes} process, {rows} rows of 5 tokens in batches of 4: "
        f"{by_row.numel()} losses as rows, mean {by_row.mean():.2f}; {by_token.numel()} as tokens, mean {by_token.mean():.2f}",
        flush=True,
    )
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
1 process, 12 rows of 5 tokens in batches of 4: 60 losses as rows, mean 1.67; 60 as tokens, mean 1.67
1 process, 10 rows of 5 tokens in batches of 4: 50 losses as rows, mean 1.80; 42 as tokens, mean 1.00
SEEN
