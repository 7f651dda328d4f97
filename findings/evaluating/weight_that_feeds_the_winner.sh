#!/usr/bin/env bash
# openskill 6.2.0, which rates models by comparisons of two or more: rate(weights=...) is no weight of a comparison, as one
# takes it who has sure and unsure verdicts. The weights of a team are first spread over the range from 1 to 2, and one
# that has no other beside it becomes 2: 0.1, 1 and 5 are one and the same. The winner's gain is then multiplied by it
# and the loser's loss divided, so that each comparison makes points out of nothing, by all five models of the library.
# Two equals who beat each other in turn stay at 25 without weights; with the weight 1 for all they stand beyond 100
# after 200 comparisons, and who was compared more often is better. Nothing is said, and weight_bounds=None, by which the
# documentation has the spreading turned off, is refused with a TypeError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check openskill==6.2.0
cat > run.py <<'PY'
from importlib.metadata import version

from openskill import models

NAMES = ("PlackettLuce", "BradleyTerryFull", "BradleyTerryPart", "ThurstoneMostellerFull", "ThurstoneMostellerPart")


def moved(model, weight):
    weights = None if weight is None else [[weight], [weight]]
    (winner,), (loser,) = model.rate([[model.rating()], [model.rating()]], weights=weights)
    return winner.mu - 25, 25 - loser.mu


def in_turn(weight):
    model = models.PlackettLuce()
    one, other = model.rating(), model.rating()
    for _ in range(100):
        weights = None if weight is None else [[weight], [weight]]
        (one,), (other,) = model.rate([[one], [other]], weights=weights)
        (other,), (one,) = model.rate([[other], [one]], weights=weights)
    return (one.mu + other.mu) / 2


print(f"openskill {version('openskill')}")
for name in NAMES:
    kind = getattr(models, name)
    plain, *weighed = (moved(kind(), weight) for weight in (None, 0.1, 1, 5))
    assert plain[0] == plain[1] and weighed[0] == weighed[1] == weighed[2]
    gain, loss = (weighed[0][side] / plain[side] for side in (0, 1))
    print(f"{name}: any weight takes the gain {gain:.2f} times and the loss {loss:.2f} times", flush=True)
try:
    models.PlackettLuce(weight_bounds=None)
except TypeError:
    print("weight_bounds=None is refused")
print(f"mean of two equals: {in_turn(None):.0f} without weights, {in_turn(1):.0f} with the weight 1")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep -c 'gain 2.00 times and the loss 0.50 times' seen | grep -qx 5
grep -qx 'weight_bounds=None is refused' seen
grep -qx 'mean of two equals: 25 without weights, 112 with the weight 1' seen
