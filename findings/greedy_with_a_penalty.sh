#!/usr/bin/env bash
# lm-eval 0.4.13 with transformers 5: a task that asks for greedy answers (do_sample false, temperature 0) is answered
# under the repetition_penalty of the model's generation_config.json. The harness hands on only what the task names, and
# generate() takes everything else from that file; of its log-likelihood tasks the same file changes nothing. Two copies
# of one model with equal weights so score differently on generation tasks, and no result says why.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 "lm-eval[hf]==0.4.13" transformers==5.23.0
cat > run.py <<'PY'
from importlib.metadata import version

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

split = Tokenizer(models.WordLevel({"UNK": 0, "END": 1, **{f"t{i:02}": i for i in range(2, 64)}}, unk_token="UNK"))
split.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=split, eos_token="END", pad_token="END", unk_token="UNK")
torch.manual_seed(1)
shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4)
model = LlamaForCausalLM(
    LlamaConfig(vocab_size=64, initializer_range=0.4, eos_token_id=1, bos_token_id=1, **shape)
).eval()
prompt, asked = "t05 t06 t07", {"until": ["zz"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 12}
ids = tokenizer(prompt, return_tensors="pt").input_ids
for _ in range(12):
    ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
likeliest = tokenizer.decode(ids[0, 3:])
for penalty in (1.0, 1.5):
    model.generation_config = GenerationConfig(repetition_penalty=penalty, eos_token_id=1, bos_token_id=1)
    model.save_pretrained("model"), tokenizer.save_pretrained("model")
    harness = HFLM(pretrained="model", device="cpu", dtype="float32", batch_size=1)
    kinds = {"generate_until": (prompt, asked), "loglikelihood": (prompt, " t50")}
    made = {
        kind: getattr(harness, kind)(
            [Instance(request_type=kind, doc={}, arguments=arguments, idx=0)], disable_tqdm=True
        )[0]
        for kind, arguments in kinds.items()
    }
    same = "the likeliest tokens" if made["generate_until"].strip() == likeliest else "other tokens than the likeliest"
    print(f"lm-eval {version('lm_eval')}, transformers {version('transformers')}, repetition_penalty {penalty}: "
          f"{same}; log-likelihood {made['loglikelihood'][0]:.4f}", flush=True)
PY
HF_HUB_OFFLINE=1 env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep -q "penalty 1.0: the likeliest tokens" seen && grep -q "penalty 1.5: other tokens than the likeliest" seen
[ "$(grep -o 'likelihood .*' seen | sort -u | wc -l)" = 1 ]
