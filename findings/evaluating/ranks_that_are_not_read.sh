#!/usr/bin/env bash
# ir-measures 0.4.3 with pytrec_eval, by which retrieval is scored: a file of TREC's form names for each document its rank
# and its score. The rank is not read. Where scores are equal (rounded to two places, from a reranker that says yes or
# no, by votes), documents are ordered by their names, last in the alphabet first. So one search is perfect or fails by
# what its documents are called: with equal scores doc-9 comes before doc-1. Writing the negative
# rank as the score gives what the search did.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ir-measures==0.4.3 pytrec_eval-terrier==0.5.11 numpy==2.3.5 scipy==1.17.1
cat > run.py <<'PY'
from importlib.metadata import version

import ir_measures
from ir_measures import RR, P, nDCG

for right, others in (("doc-9", ["doc-1", "doc-2"]), ("doc-1", ["doc-8", "doc-9"])):
    for scores in ((0.9, 0.8, 0.7), (0.9, 0.9, 0.9), (-1, -2, -3)):
        with open("run.txt", "w") as file:
            for rank, (document, score) in enumerate(zip([right, *others], scores), start=1):
                print(f"q1 Q0 {document} {rank} {score} mine", file=file)
        run = list(ir_measures.read_trec_run("run.txt"))
        measured = ir_measures.calc_aggregate([RR, P @ 1, nDCG @ 10], {"q1": {right: 1}}, run)
        values = ", ".join(f"{name} {measured[name]:.2f}" for name in sorted(measured, key=str))
        print(f"ir-measures {version('ir-measures')}, {right} has rank 1, scores {scores}: {values}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^ir-measures [0-9.]*, //' seen) - <<'SEEN'
doc-9 has rank 1, scores (0.9, 0.8, 0.7): P@1 1.00, RR 1.00, nDCG@10 1.00
doc-9 has rank 1, scores (0.9, 0.9, 0.9): P@1 1.00, RR 1.00, nDCG@10 1.00
doc-9 has rank 1, scores (-1, -2, -3): P@1 1.00, RR 1.00, nDCG@10 1.00
doc-1 has rank 1, scores (0.9, 0.8, 0.7): P@1 1.00, RR 1.00, nDCG@10 1.00
doc-1 has rank 1, scores (0.9, 0.9, 0.9): P@1 0.00, RR 0.33, nDCG@10 0.50
doc-1 has rank 1, scores (-1, -2, -3): P@1 1.00, RR 1.00, nDCG@10 1.00
SEEN
