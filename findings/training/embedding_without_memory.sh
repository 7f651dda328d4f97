#!/usr/bin/env bash
# torch 2.13.0: a model is built under torch.device("meta") to have its shape without the memory or the time. nn.Linear
# and nn.RMSNorm do that for nothing. The first nn.Embedding draws its weights with normal_, whose meta version is written in
# Python: it imports torch's reference operators and all of sympy, some eight hundred modules, two to four seconds here.
# torch.nn.utils.skip_init, which is there to skip the drawing, builds on meta and pays the same. Embedding.from_pretrained
# of an empty tensor costs nothing and gives the same module.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
cat > run.py <<'PY'
import sys
import time

import torch
from torch import nn

MAKE = {
    "nn.Linear(8, 8)": lambda: nn.Linear(8, 8),
    "nn.RMSNorm(8)": lambda: nn.RMSNorm(8),
    "nn.Embedding(8, 8)": lambda: nn.Embedding(8, 8),
    "skip_init(nn.Embedding, 8, 8)": lambda: nn.utils.skip_init(nn.Embedding, 8, 8),
    "nn.Embedding.from_pretrained(empty)": lambda: nn.Embedding.from_pretrained(torch.empty(8, 8), freeze=False),
}
name = sys.argv[1]
before, since = set(sys.modules), time.process_time()
with torch.device("meta"):
    module = MAKE[name]()
assert module.weight.is_meta or "skip_init" in name
new = set(sys.modules) - before
print(f"torch {torch.__version__.partition('+')[0]}, {name} on meta: ", end="")
print(f"{'hundreds of' if len(new) > 300 else 'hardly any'} modules imported, sympy {'too' if 'sympy' in new else 'not'}", flush=True)
print(f"{name}: {len(new)} modules, {time.process_time() - since:.3f} s", file=sys.stderr)
PY
for name in "nn.Linear(8, 8)" "nn.RMSNorm(8)" "nn.Embedding(8, 8)" "skip_init(nn.Embedding, 8, 8)" \
  "nn.Embedding.from_pretrained(empty)"; do
  env/bin/python run.py "$name"
done | tee seen
diff seen - <<'SEEN'
torch 2.13.0, nn.Linear(8, 8) on meta: hardly any modules imported, sympy not
torch 2.13.0, nn.RMSNorm(8) on meta: hardly any modules imported, sympy not
torch 2.13.0, nn.Embedding(8, 8) on meta: hundreds of modules imported, sympy too
torch 2.13.0, skip_init(nn.Embedding, 8, 8) on meta: hundreds of modules imported, sympy too
torch 2.13.0, nn.Embedding.from_pretrained(empty) on meta: hardly any modules imported, sympy not
SEEN
