#!/usr/bin/env bash
# transformers 5.23: generate(stop_strings=…) looks for them in prompt and answer together. A stop string whose first part
# ends the prompt and whose last part is what the model writes first ends the answer there, though the answer does not
# hold it: with stop "\n\n" and a prompt that ends in a newline, an answer that begins with a newline is over at once.
# Servers and harnesses that search the answer alone go on, so one model under one setting scores differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cat > run.py <<'PY'
import string

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, __version__

letters = string.ascii_letters + string.digits + " ."
engine = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token=" "))
engine.pre_tokenizer, engine.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=engine)
torch.manual_seed(0)
shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4)
config = LlamaConfig(vocab_size=len(letters), initializer_range=0.4, eos_token_id=None, bos_token_id=None, **shape)
model = LlamaForCausalLM(config).eval()
prompt = "abcd"
ids = tokenizer(prompt, return_tensors="pt").input_ids


def answer(**how):
    made = model.generate(ids, do_sample=False, max_new_tokens=8, pad_token_id=0, **how)
    return tokenizer.decode(made[0, ids.shape[1] :])


free = answer()
print(f"transformers {__version__}: no stop: {len(free)} letters")
for name, stop in (("within the answer", free[2:4]), ("over the prompt's end", prompt[-1] + free[0])):
    made = answer(stop_strings=[stop], tokenizer=tokenizer)
    print(f"stop string {name}: {len(made)} letters, {'holds it' if stop in made else 'does not hold it'}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep -q "no stop: 8 letters" seen && grep -q "within the answer: 4 letters, holds it" seen
grep -q "over the prompt's end: 1 letters, does not hold it" seen
