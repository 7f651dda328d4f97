#!/usr/bin/env bash
# sacrebleu 2.6.0: where some sentences have two references and others one, the second is left empty there. BLEU and chrF
# take an empty reference for none, and are what they are without it. TER of the same call divides by the mean length of all references, the empty ones among them: each sentence
# that has one reference of two counts its edits double, with a third column threefold. None in place of "" gives the
# right rate. No warning, and since BLEU does not change nothing points at it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check sacrebleu==2.6.0
cat > run.py <<'PY'
from importlib.metadata import version

import sacrebleu

said = ["the cat sat on the mat today", "a dog runs fast in the park"]
first = ["the cat sat on the mat today", "a dog ran fast in the park"]
cases = {
    "one reference": [first],
    "and an empty second one": [first, ["", ""]],
    "and two that are empty": [first, ["", ""], ["", ""]],
    "and a second one that is None": [first, [None, None]],
}
for name, references in cases.items():
    bleu, chrf, ter = (
        getattr(sacrebleu, f"corpus_{kind}")(said, references).score for kind in ("bleu", "chrf", "ter")
    )
    print(f"sacrebleu {version('sacrebleu')}, {name}: BLEU {bleu:.1f}, chrF {chrf:.1f}, TER {ter:.1f}", flush=True)
PY
env/bin/python run.py | tee seen
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
one reference: BLEU 76.3, chrF 87.2, TER 7.1
and an empty second one: BLEU 76.3, chrF 87.2, TER 14.3
and two that are empty: BLEU 76.3, chrF 87.2, TER 21.4
and a second one that is None: BLEU 76.3, chrF 87.2, TER 7.1
SEEN
