#!/usr/bin/env bash
# ranx 0.3.21, which rates searches: evaluate() takes judgements and results as dictionaries too, one entry for a query.
# That both have the same queries is checked; then the first of the one is rated against the first of the other, the
# second against the second, by the order in which they were put in. Results that were collected as they came, from
# threads or a cache, so are rated by the judgements of other queries: a search that finds everything scores 0,
# between 0 and 1 where queries share documents. A Qrels with a dictionary of results does the same. Nothing is said;
# a Qrels and a Run of the very same dictionaries are right, since these sort their queries.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ranx==0.3.21 numba==0.68.1 numpy==2.4.6 pandas==3.1.1
cat > run.py <<'PY'
from importlib.metadata import version

from ranx import Qrels, Run, evaluate

JUDGED = {"q1": {"lima": 1}, "q2": {"cusco": 1}}
FOUND = {"q1": {"lima": 0.9, "puno": 0.1}, "q2": {"cusco": 0.8, "ica": 0.2}}
LATER = {query: FOUND[query] for query in ("q2", "q1")}
print(f"ranx {version('ranx')}; as dictionaries the results are equal: {FOUND == LATER}")
print(f"dictionaries, queries in one order: {evaluate(JUDGED, FOUND, 'mrr')}", flush=True)
print(f"dictionaries, queries in another order: {evaluate(JUDGED, LATER, 'mrr')}", flush=True)
print(f"Qrels and a dictionary in another order: {evaluate(Qrels(JUDGED), LATER, 'mrr')}", flush=True)
print(f"Qrels and Run, of another order: {evaluate(Qrels(JUDGED), Run(LATER), 'mrr')}", flush=True)
PY
env/bin/python -W ignore run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | diff - <(cat <<'SEEN'
dictionaries, queries in one order: 1.0
dictionaries, queries in another order: 0.0
Qrels and a dictionary in another order: 0.0
Qrels and Run, of another order: 1.0
SEEN
)
