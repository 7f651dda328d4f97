#!/usr/bin/env bash
# limits 5.8.0, on which slowapi and Flask-Limiter rest: hit(limit, user, cost=n) by the strategy for fixed windows, the
# usual one, takes the cost off the quota also where it says no. Where each request costs one that is not seen, since
# who is refused has nothing left. Where the cost is the tokens of a request, one that does not fit takes what the small
# ones after it had left: of 1,000 tokens 600 are used, 600 more are refused, and so are the 300 that would fit, to the
# end of the window; a first request that is larger than the limit itself locks its user out of an unused quota. The
# strategies for moving and sliding windows, called the same way, take nothing for a refusal. No error, no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check limits==5.8.0
cat > run.py <<'PY'
from importlib.metadata import version

from limits import parse, storage, strategies

limit = parse("1000/day")
for name in ("FixedWindow", "MovingWindow", "SlidingWindowCounter"):
    for costs in ((600, 600, 300), (5000, 10)):
        limiter = getattr(strategies, f"{name}RateLimiter")(storage.MemoryStorage())
        answers = ["taken" if limiter.hit(limit, "user", cost=cost) else "refused" for cost in costs]
        said = ", ".join(f"{cost} {answer}" for cost, answer in zip(costs, answers, strict=True))
        print(f"limits {version('limits')}, {limit.amount} a day, {name}: {said}", flush=True)
PY
env/bin/python run.py | tee seen
diff <(sed 's/.*a day, //' seen) - <<'SEEN'
FixedWindow: 600 taken, 600 refused, 300 refused
FixedWindow: 5000 refused, 10 refused
MovingWindow: 600 taken, 600 refused, 300 taken
MovingWindow: 5000 refused, 10 taken
SlidingWindowCounter: 600 taken, 600 refused, 300 taken
SlidingWindowCounter: 5000 refused, 10 taken
SEEN
