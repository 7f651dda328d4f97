#!/usr/bin/env bash
# llama.cpp's server (xllamacpp 2026.10): "lora": [] in a request is taken as if nothing had been said.
# Its README says that an adapter which the list does not name has scale 0, and a list that names the adapter with scale
# 0 does give the base model. The empty list gives every adapter that the server was started with, at full scale, also
# where it was started with lora_init_without_apply. Whoever wants the base model must name every adapter with 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0 numpy
cat > run.py <<'PY'
import json, urllib.request
from importlib.metadata import version
import gguf, numpy as np, xllamacpp

rng, tokens = np.random.default_rng(0), ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
base, lora = gguf.GGUFWriter("base.gguf", "llama"), gguf.GGUFWriter("lora.gguf", "llama")
for name, value in dict(context_length=128, embedding_length=32, block_count=1, feed_forward_length=64, head_count=4,
                        head_count_kv=4, layer_norm_rms_eps=1e-5, rope_dimension_count=8, vocab_size=259).items():
    getattr(base, f"add_{name}")(value)
base.add_tokenizer_model("llama"), base.add_token_list(tokens), base.add_token_scores([0.0] * 259)
base.add_token_types([2, 3, 3] + [6] * 256), base.add_bos_token_id(1), base.add_eos_token_id(2)
shapes = {"token_embd": (259, 32), "output": (259, 32), **{f"blk.0.attn_{n}": (32, 32) for n in ("q", "k", "v", "output")},
          "blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64)}
for name, shape in shapes.items():
    base.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))
for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
    base.add_tensor(f"{name}.weight", np.ones(32, np.float32))
lora.add_type("adapter"), lora.add_string("adapter.type", "lora"), lora.add_float32("adapter.lora.alpha", 64.0)
for end, shape in (("a", (4, 64)), ("b", (32, 4))):
    lora.add_tensor(f"blk.0.ffn_down.weight.lora_{end}", rng.normal(size=shape).astype(np.float32))
for file in (base, lora):
    file.write_header_to_file(), file.write_kv_data_to_file(), file.write_tensors_to_file(), file.close()


def answer(said):
    body = {"prompt": [1, 68, 69], "n_predict": 8, "temperature": 0, "ignore_eos": True, "return_tokens": True, **said}
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{server.listening_address}/completion", json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(asked, timeout=60))["tokens"]


for apart in (False, True):
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.port = "base.gguf", 128, 1, False, 0
    params.lora_adapters, params.lora_init_without_apply = [xllamacpp.CommonAdapterLoraInfo("lora.gguf", 1.0)], apart
    server = xllamacpp.Server(params)
    plain, full = (answer({"lora": [{"id": 0, "scale": scale}]}) for scale in (0.0, 1.0))
    for said in ({}, {"lora": []}):
        got = answer(said)
        told = "the base model's answer" if got == plain else "the adapter's answer" if got == full else "another answer"
        told = told if plain != full else "nothing, for both answers are the same"
        print(f"xllamacpp {version('xllamacpp')}, lora_init_without_apply {apart}, request says {said}: {told}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c "the adapter's answer" seen)" = 4 ]
