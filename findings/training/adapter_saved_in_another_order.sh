#!/usr/bin/env bash
# peft 0.21.2: of several entries of alpha_pattern or rank_pattern that fit a layer the first counts, so one writes the
# narrow pattern first. save_pretrained() sorts the keys of adapter_config.json, the entries of the two among them: where
# the wide pattern comes first in the alphabet, it is the one that counts after loading. Another alpha changes what the
# adapter does and no warning says so (here the layer's scale falls from 16 to 1); another rank cannot be loaded at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2
cat > run.py <<'PY'
import warnings
from collections import OrderedDict

import torch
from peft import LoraConfig, PeftModel, __version__, get_peft_model
from torch import nn


def base():
    torch.manual_seed(0)
    towers = {name: nn.Sequential(OrderedDict(q_proj=nn.Linear(8, 8))) for name in ("vision", "text")}
    return nn.Sequential(OrderedDict(towers))


def scales(model):
    return [model.base_model.model.get_submodule(f"{part}.q_proj").scaling["default"] for part in ("vision", "text")]


x, rest = torch.ones(1, 8), dict(r=4, lora_alpha=8, target_modules=["q_proj"], init_lora_weights=False)
for which in ("alpha_pattern", "rank_pattern"):
    for narrow in ("vision.q_proj", "^vision.q_proj"):
        model = get_peft_model(base(), LoraConfig(**rest, **{which: {narrow: 64, "q_proj": 4}})).eval()
        model.save_pretrained("adapter")
        said = f"peft {__version__}, {which} with {narrow}"
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                loaded = PeftModel.from_pretrained(base(), "adapter").eval()
            except RuntimeError as error:
                print(f"{said}: loading fails, {'size mismatch' if 'size mismatch' in str(error) else error}", flush=True)
                continue
        same = "same answer" if torch.allclose(model(x), loaded(x)) else "another answer"
        print(f"{said}: scales {scales(model)}, loaded {scales(loaded)}: {same}, {len(warned)} warnings", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff seen - <<'SEEN'
peft 0.21.2, alpha_pattern with vision.q_proj: scales [16.0, 1.0], loaded [1.0, 1.0]: another answer, 0 warnings
peft 0.21.2, alpha_pattern with ^vision.q_proj: scales [16.0, 1.0], loaded [16.0, 1.0]: same answer, 0 warnings
peft 0.21.2, rank_pattern with vision.q_proj: loading fails, size mismatch
peft 0.21.2, rank_pattern with ^vision.q_proj: scales [0.125, 2.0], loaded [0.125, 2.0]: same answer, 0 warnings
SEEN
