#!/usr/bin/env bash
# transformers 5.23: position_ids whose steps are not all 1, given without an attention_mask, cut the text to pieces. Each
# place where the next position is not the last one plus 1 counts as the beginning of another document, and no token sees
# across it. That is meant for packed rows, but halved positions (a longer context by interpolation), every second one
# (thinning) or a gap (a text with a part left out) are taken for them too: with halved positions each token sees itself
# alone. It is so with use_cache=False, as losses and perplexities are computed, and not with use_cache=True, so one call
# has two answers. A mask of nothing but ones, which ought to say nothing, ends it. No warning comes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cat > run.py <<'PY'
import warnings

import torch
from transformers import LlamaConfig, LlamaForCausalLM, __version__

torch.manual_seed(0)
shape = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
ids = torch.randint(1, 64, (1, 12))
other = ids.clone()
other[0, 0] = 0
plain = torch.arange(12)[None]
gap = plain + 20 * (plain >= 6)
rows = {"0 1 2 3": plain, "halved": plain // 2, "every second": plain * 2, "with a gap": gap}
for name, positions in rows.items():
    for said, more in (
        ("use_cache=True", dict(use_cache=True)),
        ("use_cache=False", dict(use_cache=False)),
        ("use_cache=False and a mask of ones", dict(use_cache=False, attention_mask=torch.ones_like(ids))),
    ):
        with torch.no_grad(), warnings.catch_warnings(record=True) as warned:
            one, two = (model(x, position_ids=positions, **more).logits[0, -1] for x in (ids, other))
        sees = "does not depend" if torch.equal(one, two) else "depends"
        print(f"transformers {__version__}, positions {name}, {said}: the last token {sees} on the first, "
              f"{len(warned)} warnings", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/.*positions //; s/: the last token/:/; s/ on the first.*//' seen) - <<'SEEN'
0 1 2 3, use_cache=True: depends
0 1 2 3, use_cache=False: depends
0 1 2 3, use_cache=False and a mask of ones: depends
halved, use_cache=True: depends
halved, use_cache=False: does not depend
halved, use_cache=False and a mask of ones: depends
every second, use_cache=True: depends
every second, use_cache=False: does not depend
every second, use_cache=False and a mask of ones: depends
with a gap, use_cache=True: depends
with a gap, use_cache=False: does not depend
with a gap, use_cache=False and a mask of ones: depends
SEEN
! grep -v ", 0 warnings" seen
