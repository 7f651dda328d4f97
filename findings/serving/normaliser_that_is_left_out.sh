#!/usr/bin/env bash
# tokie 0.1.4, which reads a tokenizer.json and promises the ids of the tokenizers library, only faster. Of a byte-level
# BPE, as most models have it, it leaves out the normaliser: Lowercase, StripAccents, Replace, Prepend and Strip are as if
# they were not there. Of the pre-tokenizer it leaves out add_prefix_space, a Split by behaviour other than "isolated" and
# a pattern that it does not know by sight, in whose place its own cuts, GPT-2's own written as a Split among them. The ids
# are those of another text, the model still answers, and a count of tokens is plausible. Nothing is said; GPT-2, Llama 3
# and Qwen come out right, and so does the normaliser of a WordPiece, so a test by a well-known model tells nothing of
# one's own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check tokie==0.1.4 tokenizers==0.23.3
cat > run.py <<'PY'
from importlib.metadata import version

import tokie
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

TEXTS = ["The cat  sat at 12 Rue École", "  return x + 1\n", "The cat sat"]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def split(pattern, behaviour="isolated"):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behaviour), BYTES])


CASES = {
    "as GPT-2": (None, BYTE_LEVEL),
    "GPT-2, its pattern in a Split": (None, split(GPT2)),
    "Lowercase": (normalizers.Lowercase(), BYTE_LEVEL),
    "StripAccents": (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), BYTE_LEVEL),
    "Replace": (normalizers.Replace(Regex(" {2,}"), " "), BYTE_LEVEL),
    "Prepend": (normalizers.Prepend("_"), BYTE_LEVEL),
    "Strip": (normalizers.Strip(), BYTE_LEVEL),
    "add_prefix_space": (None, pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "Split, removed": (None, split(r"\s+", "removed")),
    "pattern of one's own": (None, split(r"\d|[a-z]+|[A-Z]+")),
}
print(f"tokie {version('tokie')}, tokenizers {version('tokenizers')}")
trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
for name, (normaliser, cutter) in CASES.items():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cutter
    if normaliser:
        tokenizer.normalizer = normaliser
    tokenizer.train_from_iterator(TEXTS * 9, trainer)
    tokenizer.save("tokenizer.json")
    other = tokie.Tokenizer.from_json("tokenizer.json")
    same = sum(tokenizer.encode(text).ids == list(other.encode(text).ids) for text in TEXTS)
    print(f"{name}: {same} of {len(TEXTS)} texts have the same ids", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep -c ' 3 of 3 ' seen | grep -qx 1
grep -qx 'as GPT-2: 3 of 3 texts have the same ids' seen
