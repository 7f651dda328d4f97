#!/usr/bin/env bash
# evalica 0.4.2, which ranks models by comparisons of two: bradley_terry() and newman() of an arena in which one model won
# every time give each model the same score, 1e-06, the floor of its arithmetic. What the others did among themselves
# is gone too, and bradley_terry() ends after two of a hundred iterations, as if all had converged. Had the best lost
# one of its sixty comparisons, it would lead by a factor of thirty. A model that never won does the same to
# bradley_terry(). Small arenas, a new and much better model and a broken one are so. Theory gives the best one an endless
# score, hence one expects a very large number, a warning or an error; choix 0.4.1 gives the first with alpha=0.01
# and the order of all. The number of wins and Elo, here too, have the order right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check evalica==0.4.2 choix==0.4.1 numpy==2.3.5
cat > run.py <<'PY'
from importlib.metadata import version

import choix
import evalica
from evalica import Winner

MODELS = ["good", "fair", "poor"]
AMONG = {("good", "fair"): 14, ("good", "poor"): 17, ("fair", "poor"): 13}


def ranked(wins):
    games = [(*pair, place < won) for pair, won in wins.items() for place in range(20)]
    lists = [a for a, _, _ in games], [b for _, b, _ in games], [Winner.X if won else Winner.Y for *_, won in games]
    for method in ("bradley_terry", "newman", "elo"):
        result = getattr(evalica, method)(*lists)
        yield f"evalica {version('evalica')}, {method}", dict(result.scores), getattr(result, "iterations", None)
    names = list(dict.fromkeys(name for a, b, _ in games for name in (a, b)))
    data = [(names.index(a), names.index(b)) if won else (names.index(b), names.index(a)) for a, b, won in games]
    yield f"choix {version('choix')}", dict(zip(names, choix.opt_pairwise(len(names), data, alpha=0.01), strict=True)), None


cases = {
    "the best lost once": {("best", other): 19 if other == "good" else 20 for other in MODELS},
    "the best never lost": {("best", other): 20 for other in MODELS},
    "the worst never won": {(other, "worst"): 20 for other in MODELS},
}
for name, more in cases.items():
    for what, scores, iterations in ranked(AMONG | more):
        order = sorted(scores, key=scores.get, reverse=True) if len(set(scores.values())) == 4 else "none, all have one score"
        after = f" after {iterations} iterations" if iterations else ""
        print(f"{what}, {name}: {', '.join(order) if isinstance(order, list) else order}{after}", flush=True)
PY
env/bin/python run.py | tee seen
[ "$(grep -c ': best, good, fair, poor\|: good, fair, poor, worst' seen)" = 9 ]
grep -q "bradley_terry, the best never lost: none, all have one score after 2 iterations" seen
grep -q "newman, the best never lost: none" seen && grep -q "bradley_terry, the worst never won: none" seen
