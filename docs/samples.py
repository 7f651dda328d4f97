"""Samples of a pretrained model, unselected, as they stand in the README: `python docs/samples.py [FOLDER]`.

FOLDER is the `pretrain` artifact of a run; the newest one is taken when it is not given.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ayllu.lab.store import Store, default_home
from ayllu.model.files import hf
from ayllu.model.generate import generate
from ayllu.model.sampling import Sampling
from ayllu.text.tokenizer import Tokenizer

PROMPT = "How to"

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Store(default_home()).manifests("pretrain")[-1]["folder"])
    tokenizer, model = Tokenizer.load(folder), hf.load(folder)
    for seed in (1, 2, 3):
        ids = [tokenizer.bos, *tokenizer.encode(PROMPT)]
        sampling = Sampling(temperature=0.5, top_p=0.95, seed=seed)
        new = list(generate(model, ids, tokens=120, stop=tokenizer.stops, sampling=sampling))
        sys.stdout.write("> " + tokenizer.decode(ids + new).replace("\n", "\n> ") + "\n\n")
