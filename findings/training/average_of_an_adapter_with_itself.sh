#!/usr/bin/env bash
# peft 0.21.2: add_weighted_adapter(combination_type="linear") adds up the factors A and B of the adapters, each under the
# root of its weight, not what the adapters do, so that every A meets every B. Half of an adapter and half of its copy
# so is twice the adapter, and half of one and half of one that does nothing at all (B is zero, as training starts) is
# not half of it. "cat" and "svd" give what the weights say. An average of checkpoints or of experts so is another thing
# than it looks like, and each weight that is tuned moves all pairs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2
cat > run.py <<'PY'
import torch
from peft import LoraConfig, __version__, get_peft_model
from torch import nn

torch.manual_seed(0)
config = LoraConfig(r=4, lora_alpha=4, target_modules=["0"], init_lora_weights=False)
model = get_peft_model(nn.Sequential(nn.Linear(32, 32)), config, adapter_name="one")
layer = model.base_model.model[0]
for name in ("copy", "other", "idle"):
    model.add_adapter(name, config)
with torch.no_grad():
    layer.lora_A["copy"].weight.copy_(layer.lora_A["one"].weight)
    layer.lora_B["copy"].weight.copy_(layer.lora_B["one"].weight)
    layer.lora_B["idle"].weight.zero_()


def does(name):
    return layer.get_delta_weight(name).detach()


for second in ("copy", "other", "idle"):
    meant = (does("one") + does(second)) / 2
    for kind in ("cat", "svd", "linear"):
        model.add_weighted_adapter(["one", second], [0.5, 0.5], f"{second}-{kind}", combination_type=kind, svd_rank=8)
        made = does(f"{second}-{kind}")
        size, off = (made.norm() / meant.norm()).item(), ((made - meant).norm() / meant.norm()).item()
        said = "as meant" if off < 1e-3 else "twice what was meant" if torch.allclose(made, 2 * meant) else "another"
        print(f"peft {__version__}, half of one, half of {second}, {kind}: {said} ({size:.2f} in size, {off:.2f} off)", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c 'cat: as meant' seen)" = 3 ] && [ "$(grep -c 'svd: as meant' seen)" = 3 ]
grep -q "copy, linear: twice" seen && grep -q "other, linear: another" seen && grep -q "idle, linear: another" seen
