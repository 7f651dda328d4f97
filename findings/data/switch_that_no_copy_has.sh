#!/usr/bin/env bash
# tokenizers 0.23: `encode_special_tokens = True` has a tokenizer treat special tokens in a text as characters, which is
# documents about such tokens need. The switch is a property of one object: pickle, copy.deepcopy and to_str/from_str give
# a tokenizer that equals it in all else and has the switch off, without an error or a warning. So where a tokenizer is
# handed to another process (workers of a DataLoader, `datasets.map(num_proc=…)`, a pool), the same line of text has
# other ids there than here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check tokenizers==0.23.3
cat > run.py <<'PY'
import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers


def split(tokenizer):
    return tokenizer.encode("the end <end> of it").tokens


def made():
    words = ["?", "the", "end", "<", ">", "of", "it"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.encode_special_tokens = True
    return tokenizer


if __name__ == "__main__":
    here = made()
    print("tokenizers", tokenizers.__version__)
    print("here:", *split(here))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        print("in another process:", *pool.submit(split, here).result())
    print("unpickled:", *split(pickle.loads(pickle.dumps(here))))
    print("deep copy:", *split(copy.deepcopy(here)))
    print("written and read:", *split(Tokenizer.from_str(here.to_str())))
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff seen - <<'SEEN'
tokenizers 0.23.3
here: the end < end > of it
in another process: the end <end> of it
unpickled: the end <end> of it
deep copy: the end <end> of it
written and read: the end <end> of it
SEEN
