#!/usr/bin/env bash
# @huggingface/tokenizers 0.2.0 (JavaScript) reads the tokenizer.json of tokenizers 0.23.3 and cuts otherwise, without a
# word: the pre-tokenizer Whitespace takes every letter that is not ASCII for a sign ("s", "í?"), Split knows no way but
# "isolated", and with invert it leaves out the words and keeps what stands between them. single_word of an added token
# is not looked at. So a page in a browser gives a model other ids than the server that it was tested on; English with
# Whitespace is equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check tokenizers==0.23.3
npm install --silent --prefix . @huggingface/tokenizers@0.2.0
cat > make.py <<'PY'
import json
from importlib.metadata import version

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers


def made(text, cutter):
    pieces = {text[start:end] for start in range(len(text)) for end in range(start + 1, len(text) + 1)}
    vocabulary = {"?": 0, **{piece: number for number, piece in enumerate(sorted(pieces - {"?"}), 1)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = cutter
    return tokenizer, text


cases = {
    "Whitespace, English": made("so? (yes)", pre_tokenizers.Whitespace()),
    "Whitespace, Spanish": made("sí? (año)", pre_tokenizers.Whitespace()),
    "Split before": made("an old llama", pre_tokenizers.Split(" ", "merged_with_next")),
    "Split inverted": made("an old llama", pre_tokenizers.Split(Regex(r"\s"), "isolated", invert=True)),
    "single_word": made("oldest old", pre_tokenizers.WhitespaceSplit()),
}
cases["single_word"][0].add_tokens([AddedToken("old", single_word=True)])
told = {name: [json.loads(tokenizer.to_str()), text, tokenizer.encode(text).tokens] for name, (tokenizer, text) in cases.items()}
json.dump([version("tokenizers"), told], open("cases.json", "w"))
PY
cat > compare.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

const [version, cases] = JSON.parse(readFileSync("cases.json", "utf8"));
for (const [name, [file, text, python]] of Object.entries(cases)) {
  const [script, reference] = [new Tokenizer(file, {}).encode(text).tokens, python].map((cut) => JSON.stringify(cut));
  console.log(`tokenizers ${version}, ${name}: ${reference}; JavaScript ${script === reference ? "the same" : script}`);
}
JS
env/bin/python make.py && node compare.mjs 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(cut -d, -f2- seen | sed 's/^ //') - <<'SEEN'
Whitespace, English: ["so","?","(","yes",")"]; JavaScript the same
Whitespace, Spanish: ["sí","?","(","año",")"]; JavaScript ["s","í?","(","a","ñ","o",")"]
Split before: ["an"," old"," llama"]; JavaScript ["an"," ","old"," ","llama"]
Split inverted: ["an"," ","old"," ","llama"]; JavaScript [" "," "]
single_word: ["oldest","old"]; JavaScript ["old","est","old"]
SEEN
